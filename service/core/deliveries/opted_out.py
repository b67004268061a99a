"""Opted-out people among the deliveries: no queued delivery is for one of them.

A transaction that stores an opt-out fails that person's queued deliveries (`leave_out`). A
transaction that queues deliveries fails those for people who opted out (`suppress`). On Postgres a
lock orders the two: `queueing` shares it, `changing` has it alone. So a claim never takes a
delivery for them and need not check. Earlier claims are revoked: see `core.revocations`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, TextClause, bindparam, select, text, update
from sqlalchemy.orm import Session as Db

from service.core.deliveries import tallies
from service.database import is_postgres
from service.models import Broadcast, Delivery, DeliveryStatus

OPTED_OUT: Final = "This person has opted out of messages from this account."
"""The reason of deliveries to somebody who wants no more messages."""

_LOCK: Final = 0x0B7007
"""The number of the advisory lock; nothing else of ours uses one."""

_SHARE = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
_OWN = text(f"SELECT pg_advisory_xact_lock({_LOCK})")


class OptOutOwner(NamedTuple):
    """The session whose messages a person does not want, or the client if no session is set."""

    client_id: str = ""
    session_id: str | None = None


def queueing(db: Db) -> None:
    """Announce that this transaction queues deliveries; call it before any row is locked."""
    if is_postgres(db):
        db.execute(_SHARE)


def changing(db: Db) -> None:
    """Announce that somebody opts out in this transaction; call it before any row is locked."""
    if is_postgres(db):
        db.execute(_OWN)


def open_broadcasts(whose: OptOutOwner) -> Select[str]:
    """Return the query for the ids of the broadcasts that have something left to send."""
    mine = select(Broadcast.id).where(Broadcast.closed_at.is_(None))
    if whose.session_id is None:
        return mine.where(Broadcast.client_id == whose.client_id)
    return mine.where(Broadcast.session_id == whose.session_id)


def leave_out(db: Db, whose: OptOutOwner, recipients: Collection[str], *, now: int) -> None:
    """Fail the queued deliveries to some recipients, in all open broadcasts."""
    ended = (
        update(Delivery)
        .where(
            Delivery.status == DeliveryStatus.QUEUED,
            Delivery.recipient.in_(recipients),
            Delivery.broadcast_id.in_(open_broadcasts(whose)),
        )
        .values(status=DeliveryStatus.FAILED, updated_at=now, code="opted_out", reason=OPTED_OUT)
        .returning(Delivery.id, Delivery.broadcast_id, Delivery.status)
        .execution_options(synchronize_session=False)
    )
    _move(db, db.execute(ended).all(), now)


# CROSS JOIN keeps SQLite from looking up each opt-out among the deliveries: opt-outs may be many
# more. To Postgres it is any join.
_SUPPRESS = """
    UPDATE deliveries SET status = 'failed', code = 'opted_out', reason = :reason, updated_at = :now
    WHERE status = 'queued' AND id IN (
        SELECT d.id FROM broadcasts AS b CROSS JOIN deliveries AS d CROSS JOIN opt_outs AS o
        WHERE d.broadcast_id = b.id AND d.status = 'queued' AND {chosen}
            AND o.session_id = b.session_id AND o.recipient = d.recipient
        UNION ALL
        SELECT d.id FROM broadcasts AS b CROSS JOIN deliveries AS d CROSS JOIN client_opt_outs AS o
        WHERE d.broadcast_id = b.id AND d.status = 'queued' AND {chosen}
            AND o.client_id = b.client_id AND o.recipient = d.recipient)
    RETURNING id, broadcast_id, status
"""
_OF_BROADCAST = text(_SUPPRESS.format(chosen="b.id = :broadcast_id"))
_DUE_NOW = text(_SUPPRESS.format(chosen="b.id = :broadcast_id AND d.due_at = :now"))
_OF_IDS = text(_SUPPRESS.format(chosen="d.id IN :ids")).bindparams(bindparam("ids", expanding=True))
_IS_ANYBODY = text("""
    SELECT EXISTS (SELECT 1 FROM opt_outs WHERE session_id = b.session_id)
        OR EXISTS (SELECT 1 FROM client_opt_outs WHERE client_id = b.client_id)
    FROM broadcasts AS b WHERE b.id = :broadcast_id
""")


def suppress_new(db: Db, broadcast_id: str, *, now: int) -> None:
    """Fail a broadcast's new deliveries (those due exactly `now`) to people who opted out."""
    if db.scalar(_IS_ANYBODY, {"broadcast_id": broadcast_id}):
        _end(db, _DUE_NOW, {"broadcast_id": broadcast_id}, now)


def suppress(db: Db, broadcast_id: str, *, now: int) -> None:
    """Fail a broadcast's queued deliveries to people who opted out."""
    if db.scalar(_IS_ANYBODY, {"broadcast_id": broadcast_id}):
        _end(db, _OF_BROADCAST, {"broadcast_id": broadcast_id}, now)


def suppress_some(db: Db, ids: Collection[str], *, now: int) -> list[tallies.Closed]:
    """Fail those of some deliveries that are queued for people who opted out.

    Return the broadcasts that this closed.
    """
    return _end(db, _OF_IDS, {"ids": list(ids)}, now) if ids else []


def _end(db: Db, statement: TextClause, values: dict[str, Any], now: int) -> list[tallies.Closed]:
    return _move(db, db.execute(statement, {**values, "reason": OPTED_OUT, "now": now}).all(), now)


def _move(db: Db, moved: Sequence[Any], now: int) -> list[tallies.Closed]:
    return tallies.move(db, tallies.gains(moved), touched=[row.id for row in moved], now=now)
