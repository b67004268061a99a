"""Limits: how much the client may store and ask for, and how much of that it has used."""

from __future__ import annotations

from typing import Final, NamedTuple

from flask import render_template

from service.blueprints import clients
from service.console.access import Section
from service.console.formats import number, size
from service.console.language import gettext as _
from service.core.limits import Limit
from service.core.tokens import Scope

blueprint = Section("limits", __name__)

_WIDE: Final = 1_000
_NEARLY: Final = 0.8
"""The part of a limit from which on a bar warns."""


class Row(NamedTuple):
    """A limit as the page shows it; `width` is that of a bar of 1,000."""

    label: str
    about: str
    used: str
    most: str
    width: float
    state: str


@blueprint.page("/limits", Scope.ADMIN)
def index() -> str:
    """Show all limits of the client."""
    rows = [_row(Limit(name), *state) for name, state in clients.states().items()]
    return render_template("console/limits.html", rows=rows)


def _row(limit: Limit, most: int, used: int) -> Row:
    shown = size if limit == Limit.BYTES else number
    label, about = _words(limit)
    part = min(1.0, used / most)
    state = "failed" if used >= most else "held" if part >= _NEARLY else "sent"
    return Row(label, about, shown(used), shown(most), round(part * _WIDE, 1), state)


def _words(limit: Limit) -> tuple[str, str]:
    """Return the name of a limit, and what it counts."""
    return {
        Limit.REQUESTS: (_("Requests per second"), _("Made by your programs, in the last second")),
        Limit.BURST: (_("Requests at once"), _("Made by your programs, and not yet regained")),
        Limit.RECIPIENTS: (_("Recipients per day"), _("Of today's broadcasts, in UTC")),
        Limit.BYTES: (
            _("Storage"),
            _("Attachments, contacts, broadcasts until they are purged"),
        ),
        Limit.BROADCASTS: (_("Unfinished broadcasts"), _("Being sent, scheduled or paused")),
        Limit.SESSIONS: (_("Sessions"), ""),
        Limit.CONTACTS: (_("Contacts"), ""),
        Limit.GROUPS: (_("Groups"), ""),
        Limit.MEMBERS: (_("Group members"), _("In all groups together")),
        Limit.ATTACHMENTS: (_("Attachments"), ""),
        Limit.CALLBACKS: (_("Callbacks"), ""),
        Limit.TOKENS: (_("Tokens"), _("Neither revoked nor expired")),
        Limit.OPT_OUTS: (_("Opt-outs"), _("A person who writes STOP is never refused")),
        Limit.SANDBOX_REPLIES: (_("Sandbox replies"), _("Until they are purged")),
    }[limit]
