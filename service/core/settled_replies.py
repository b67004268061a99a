"""Settled replies: a dispatcher finds the broadcast that the writer of a reply got last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Row, Table, bindparam, select, text, update
from sqlalchemy.orm import Session as Db

from service.core import outbox, sent_parts
from service.models import Broadcast, EventType, Reply

_TABLE = cast("Table", Reply.__table__)

_LOOKS: Final = 20_000
"""Index lookups for all writers together: about 50 ms."""

_CLOSE: Final = 1_000
"""Milliseconds by which a message may be recorded after its reply has come."""


class SettledReply(NamedTuple):
    """A reply that was settled just now; `confirmation` is to be sent to its writer."""

    id: str
    client_id: str
    session_id: str
    recipient: str
    broadcast_id: str | None
    opt_out: str | None
    confirmation: str | None


def is_waiting(db: Db) -> bool:
    """Return whether a reply waits to be settled."""
    return db.scalar(select(Reply.id).where(Reply.settled_at.is_(None)).limit(1)) is not None


def settle(db: Db, limit: int, *, elsewhere: Collection[str] = (), now: int) -> list[SettledReply]:
    """Find what up to `limit` replies answer, the oldest first, and count them.

    Other processes settle the replies to sessions in `elsewhere`.
    """
    open_ones = (
        select(*_TABLE.columns)
        .where(Reply.settled_at.is_(None), Reply.session_id.not_in(elsewhere))
        .order_by(Reply.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = db.execute(open_ones).all()
    by_session: dict[str, list[Row[Any]]] = {}
    for row in rows:
        by_session.setdefault(row.session_id, []).append(row)
    found: dict[str, _Got] = {}
    for session_id, mine in by_session.items():
        found |= _found(db, session_id, mine)
    _write(db, rows, found, now)
    settled = [_settled(row, found.get(row.id)) for row in rows]
    for row, each in zip(rows, settled, strict=True):
        _tell(db, row, each, now)
    return settled


def _tell(db: Db, row: Row[Any], settled: SettledReply, now: int) -> None:
    data = {
        "reply_id": row.id,
        "session_id": row.session_id,
        "broadcast_id": settled.broadcast_id,
        "recipient": settled.recipient,
        "name": row.name,
        "kind": row.kind,
        "text": row.text,
        "opt_out": row.opt_out,
    }
    kind = EventType.REPLY_RECEIVED
    outbox.emit(db, row.client_id, kind, row.session_id, data, sequence=now, now=now)


class _Got(NamedTuple):
    """A delivery that a writer has got; `at` in milliseconds of Unix time."""

    delivery_id: str
    broadcast_id: str
    recipient: str
    at: int = 0


def _settled(row: Row[Any], got: _Got | None) -> SettledReply:
    return SettledReply(
        row.id,
        row.client_id,
        row.session_id,
        got.recipient if got else row.recipient,
        got and got.broadcast_id,
        row.opt_out,
        row.confirmation,
    )


def _found(db: Db, session_id: str, rows: Sequence[Row[Any]]) -> dict[str, _Got]:
    """Return what replies answer: the message that they name, else the last one to the writer."""
    answers = {row.context_id: row.forms for row in rows if row.context_id}
    places = sent_parts.find(db, session_id, answers) if answers else {}
    named = {place.delivery_id for place in places.values()}
    got = _named(db, named) if named else {}
    last = _last(db, session_id, {form for row in rows for form in row.forms.split()})
    found: dict[str, _Got] = {}
    for row in rows:
        place = places.get(row.context_id)
        known = got.get(place.delivery_id) if place else None
        if answer := known or _latest(last, row):
            found[row.id] = answer
    return found


# What was sent by a way answers the broadcast and the delivery that the client knows.
_KNOWN = """COALESCE(substr(b.parent_id, 1, 18) || substr(d.id, 19), d.id) AS known_id,
    COALESCE(b.parent_id, b.id) AS broadcast_id, d.recipient"""

_NAMED = text(f"""
    SELECT d.id, {_KNOWN} FROM deliveries AS d JOIN broadcasts AS b ON b.id = d.broadcast_id
    WHERE d.id IN :ids
""").bindparams(bindparam("ids", expanding=True))  # noqa: S608 - the columns are ours


def _named(db: Db, delivery_ids: Iterable[str]) -> dict[str, _Got]:
    rows = db.execute(_NAMED, {"ids": list(delivery_ids)})
    return {row[0]: _Got(*row[1:]) for row in rows}


_LAST = text(f"""
    SELECT {_KNOWN}, COALESCE(d.sent_at, d.updated_at) AS at
    FROM (SELECT id, parent_id FROM broadcasts WHERE session_id = :session_id
          ORDER BY id DESC LIMIT :newest) AS b
    JOIN deliveries AS d ON d.broadcast_id = b.id AND d.recipient IN :people
    WHERE d.status IN ('sending', 'sent', 'delivered', 'read', 'uncertain', 'held')
""").bindparams(bindparam("people", expanding=True))  # noqa: S608 - the columns are ours


def _last(db: Db, session_id: str, people: set[str]) -> list[_Got]:
    """Return what writers got from the newest broadcasts of a session, the latest first."""
    newest = min(sent_parts.MOST_BROADCASTS, _LOOKS // max(1, len(people)))
    values = {"session_id": session_id, "newest": newest, "people": list(people)}
    return sorted((_Got(*row) for row in db.execute(_LAST, values)), key=_moment, reverse=True)


def _moment(got: _Got) -> int:
    return got.at


def _latest(last: Iterable[_Got], row: Row[Any]) -> _Got | None:
    people, until = set(row.forms.split()), row.created_at + _CLOSE
    return next((got for got in last if got.recipient in people and got.at <= until), None)


_SETTLE = text("""
    UPDATE replies SET settled_at = :now, broadcast_id = :broadcast_id, delivery_id = :delivery_id,
        recipient = COALESCE(:recipient, recipient)
    WHERE id = :id
""")


def _write(db: Db, rows: Sequence[Row[Any]], found: dict[str, _Got], now: int) -> None:
    if not rows:
        return
    nothing = {"broadcast_id": None, "delivery_id": None, "recipient": None}
    db.execute(
        _SETTLE,
        [
            {
                **nothing,
                **(found[row.id]._asdict() if row.id in found else {}),
                "id": row.id,
                "now": now,
            }
            for row in rows
        ],
    )
    counts = Counter(got.broadcast_id for got in found.values())
    for broadcast_id, count in sorted(counts.items()):
        counted = update(Broadcast).where(Broadcast.id == broadcast_id)
        db.execute(
            counted.values(replies=Broadcast.replies + count, updated_at=Broadcast.updated_at),
            execution_options={"synchronize_session": False},
        )
