"""Links: which process keeps the connection of a session, so that no two connect."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Db

from service.core import dispatchers
from service.database import insert_new
from service.models import Dispatcher, Session, SessionLink


class Linked(NamedTuple):
    """A session that needs a link, and the dispatcher that keeps it, empty if none does."""

    session_id: str
    version: int
    keeper: str


def needed(db: Db, channels: Collection[str]) -> list[Linked]:
    """List the sessions on channels that need a link."""
    query = (
        select(Session.id, Session.version, func.coalesce(SessionLink.dispatcher_id, ""))
        .outerjoin(SessionLink, SessionLink.session_id == Session.id)
        .where(Session.channel.in_(channels))
        .order_by(Session.id)
    )
    return [Linked(*row) for row in db.execute(query)]


def kept(db: Db) -> set[str]:
    """Return the sessions whose links a process keeps."""
    return set(db.scalars(select(SessionLink.session_id)))


def take(db: Db, dispatcher_id: str, session_ids: Iterable[str]) -> None:
    """Take links that no process keeps; if two processes try, one gets the link.

    Raises LostClaimError.
    """
    dispatchers.hold(db, dispatcher_id)
    wanted = [{"session_id": each, "dispatcher_id": dispatcher_id} for each in session_ids]
    insert_new(db, SessionLink, wanted)


def share(db: Db, free: int) -> int:
    """Return how many free links a process takes at a time, so that every process gets some."""
    processes = db.scalar(select(func.count()).select_from(Dispatcher)) or 1
    return -(-free // processes)
