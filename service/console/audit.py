"""The audit log: who did what, with which token and from where."""

from __future__ import annotations

from typing import Any, Final

from flask import render_template

from service import ids
from service.blueprints import audit
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import listing
from service.console.access import Section, visitor
from service.console.language import gettext as _
from service.core import audit_entries
from service.core.audit_entries import AuditFilter
from service.core.tokens import Scope

blueprint = Section("audit", __name__)

_LONGEST_ACTION: Final = 100


@blueprint.page("/audit", Scope.ADMIN)
def index() -> str:
    """Show the audit log, newest first: all entries, or those of one action, object or token."""
    asked = {name: text for name in ("action", "object_id", "token_id") if (text := _asked(name))}
    with crier().database.reading() as db:
        page = audit_entries.page(db, AuditFilter(visitor().client_id, **asked), listing.wanted())
        tokens = audit_entries.tokens_of(db, page.items)
    return render_template(
        "console/audit.html",
        page=page.map(lambda entry: audit.shown(entry, tokens.get(entry.token_id or ""))),
        asked=asked,
        title=title,
        sources=_sources(),
    )


def title(action: str) -> str:
    """Return an action in the viewer's language, or its name if it has no translation."""
    noun, _dot, verb = action.partition(".")
    return (
        f"{nouns().get(noun, noun)} · {verbs().get(verb, verb)}"
        if verb
        else nouns().get(action, action)
    )


def nouns() -> dict[str, str]:
    """Return the words for the nouns of actions."""
    return {
        "welcome": _("Start of the service"),
        "attachment": _("Attachment"),
        "broadcast": _("Broadcast"),
        "callback": _("Callback"),
        "callback_event": _("Event of a callback"),
        "callback_secret": _("Secret of a callback"),
        "client": _("Client"),
        "client_opt_out": _("Opt-out of all sessions"),
        "console": _("Console"),
        "contact": _("Contact"),
        "group": _("Group"),
        "opt_out": _("Opt-out"),
        "opt_out_policy": _("Opt-out policy"),
        "sandbox_reply": _("Reply of a sandbox phone"),
        "session": _("Session"),
        "session_token": _("Token of a session"),
        "sign_in": _("Sign-in"),
        "token": _("Token"),
    }


def verbs() -> dict[str, str]:
    """Return the words for the verbs of actions."""
    return {
        "check": _("checked"),
        "create": _("created"),
        "delete": _("deleted"),
        "disable": _("disabled"),
        "enable": _("enabled"),
        "import": _("imported"),
        "link": _("link made"),
        "numbers": _("numbers changed"),
        "pause": _("paused"),
        "refuse": _("refused"),
        "resend": _("posted again"),
        "resume": _("resumed"),
        "retry": _("retried"),
        "revoke": _("revoked"),
        "rotate": _("rotated"),
        "update": _("changed"),
    }


def _sources() -> dict[str, str]:
    return {"api": _("API"), "console": _("Console"), "command": _("Operator")}


def _asked(name: str) -> Any:
    """Return the filter of the list; an invalid id is ignored."""
    given = request.args.get(name, "")[:_LONGEST_ACTION]
    return given if name == "action" or ids.is_id(given) else ""
