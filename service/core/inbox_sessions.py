"""Sessions as their inbox needs them, with the rules of their client: one statement for a webhook.

Nothing is cached between webhooks, so a replaced secret or a deleted account no longer counts for
the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Table, bindparam, select
from sqlalchemy.orm import Session as Db

from service.core import opt_out_policies
from service.core.opt_out_policies import Policy
from service.models import Client, Session


class InboxSession(NamedTuple):
    """The columns of a session that are needed to verify a webhook and to store its reports."""

    id: str
    client_id: str
    channel: str
    settings: dict[str, Any]
    secrets: str
    health: dict[str, Any] | None
    opt_out_policy: dict[str, Any] | None

    @property
    def policy(self) -> Policy:
        """The rules of its client for opt-outs."""
        return opt_out_policies.read(self.opt_out_policy or {})


# Of tables, not of classes: the ORM would take a third of the time for itself.
_SESSIONS, _CLIENTS = (cast("Table", each.__table__) for each in (Session, Client))
_OF_SESSION: Final = ("id", "client_id", "channel", "settings", "secrets", "health")
_COLUMNS: Final = (*(_SESSIONS.c[name] for name in _OF_SESSION), _CLIENTS.c.opt_out_policy)
_ALL: Final = select(*_COLUMNS).join(_CLIENTS, _CLIENTS.c.id == _SESSIONS.c.client_id)
_ONE: Final = _ALL.where(_SESSIONS.c.id == bindparam("session_id"))


def find(db: Db, session_id: str) -> InboxSession | None:
    """Return a session, None if no session has that id."""
    row = db.execute(_ONE, {"session_id": session_id}).one_or_none()
    return None if row is None else InboxSession(*row)


def get(db: Db, session_id: str) -> InboxSession:
    """Return an existing session."""
    return InboxSession(*db.execute(_ONE, {"session_id": session_id}).one())


def on(db: Db, channel: str, numbers: Collection[str] = ()) -> Iterable[InboxSession]:
    """Return the sessions on a channel, or only those of some phone numbers."""
    wanted = _ALL.where(_SESSIONS.c.channel == channel).order_by(_SESSIONS.c.id)
    if numbers:
        named = _SESSIONS.c.settings["phone_number_id"].as_string()
        wanted = wanted.where(named.in_(numbers))
    return (InboxSession(*row) for row in db.execute(wanted))
