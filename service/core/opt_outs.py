"""Opt-outs: recipients who want no more messages from a session."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.core import numbers, paging, recipients, sessions
from service.core.deliveries import transitions
from service.database import insert_new
from service.errors import InvalidError, NotFoundError
from service.models import OptOut


def page(
    db: Db, client_id: str, session_id: str, request: paging.PageRequest
) -> paging.Page[OptOut]:
    """Return one page of a session's opt-outs, oldest first; raises NotFoundError."""
    sessions.get(db, client_id, session_id)
    mine = select(OptOut).where(OptOut.session_id == session_id)
    by_time = mine.order_by(request.order(OptOut.created_at))
    return paging.fetch(db, by_time, OptOut.recipient, request)


def add(db: Db, client_id: str, session_id: str, written: str, *, now: int) -> OptOut:
    """Add an opt-out; an existing one keeps its date.

    Waiting deliveries to the recipient fail too, including scheduled ones: the provider does not
    know about this opt-out and would accept them.

    Raises NotFoundError, and InvalidError unless it is a number or a WhatsApp group.
    """
    sessions.get(db, client_id, session_id)
    recipient = recipients.read_one(written)
    if recipient is None:
        raise InvalidError(errors={"recipient": [f"{written[:40]!r} {numbers.reason(written)}."]})
    remember(db, session_id, recipient, now=now)
    transitions.leave_out(db, session_id, recipient, now=now)
    return db.get_one(OptOut, (session_id, recipient))


def remember(db: Db, session_id: str, recipient: str, *, now: int) -> None:
    """Store an opt-out that the provider reported."""
    values = {"session_id": session_id, "recipient": recipient, "created_at": now}
    insert_new(db, OptOut, [values])


def delete(db: Db, client_id: str, session_id: str, written: str) -> OptOut:
    """Remove an opt-out; raises NotFoundError."""
    sessions.get(db, client_id, session_id)
    recipient = recipients.read_one(written)
    found = recipient and db.get(OptOut, (session_id, recipient))
    if not found:
        raise NotFoundError("opt-out", written)
    db.delete(found)
    db.flush()
    return found
