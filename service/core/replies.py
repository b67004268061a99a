"""Replies: what people write to a session, kept at once and settled later.

A webhook stores a reply and heeds the keyword that it may be, in one transaction. A dispatcher
settles it afterwards: it finds the broadcast that the writer got last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Row, Table, bindparam, func, select, text, update
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.webhooks import Inbound
from service.core import (
    keywords,
    outbox,
    owned,
    paging,
    sent_parts,
    wishes,
)
from service.core.deliveries import opted_out
from service.core.deliveries.transitions import storable
from service.core.entries import is_user_id
from service.core.inbox_sessions import InboxSession
from service.core.opt_out_policies import Policy
from service.core.revocations import ClaimKey
from service.core.waiting import one_word
from service.database import insert_missing
from service.errors import NotFoundError
from service.models import Broadcast, EventType, Reply

LONGEST_TEXT: Final = 4_096
"""Characters that are kept of a reply; WhatsApp's have up to so many."""

MOST_WORDS: Final = 100
"""Different answers that are counted for one broadcast, the most frequent ones."""

_LONGEST_URL: Final = 4_096
"""Characters that are kept of what a provider says of a file."""

_TYPED: Final = {"text", "button"}
"""The kinds of which keywords are made."""

_LOOKS: Final = 20_000
"""Looks into the index of deliveries for all writers together: some 50 ms."""

_CLOSE: Final = 1_000
"""Milliseconds by which a message may be recorded after its reply has come."""


def receive(
    db: Db, session: InboxSession, inbound: Sequence[Inbound], *, now: int
) -> list[ClaimKey]:
    """Keep what people wrote, and stop or start what they ask for by a keyword.

    A message that was kept before changes nothing. Return the claims that are revoked.
    """
    if not inbound:
        return []
    policy = session.policy
    rows = [_row(session, each, policy, now) for each in inbound]
    wishes.complete(db, session.client_id, [row for row in rows if is_user_id(row["recipient"])])
    if any(row["opt_out"] for row in rows):
        opted_out.changing(db)
    new = {row.id for row in insert_missing(db, _TABLE, rows, Reply.id)}
    asking = [row for row in rows if row["opt_out"] and row["id"] in new]
    return wishes.heed(db, session, asking, policy, now=now) if asking else []


def asks(session: InboxSession, inbound: Iterable[Inbound]) -> bool:
    """Tell whether somebody asks by a keyword to get no more messages, or messages again."""
    return any(session.policy.wish(_word(each, _text(each))) for each in inbound)


def _text(inbound: Inbound) -> str:
    return storable(inbound.text, longest=LONGEST_TEXT)


def _word(inbound: Inbound, said: str) -> str:
    """Return what keywords are compared with, empty for what nobody has typed or chosen."""
    return keywords.fold(said) if inbound.kind in _TYPED else ""


def _row(session: InboxSession, inbound: Inbound, policy: Policy, now: int) -> dict[str, Any]:
    said = _text(inbound)
    word = _word(inbound, said)
    return {
        "id": ids.new(),
        "client_id": session.client_id,
        "session_id": session.id,
        "message_id": one_word(inbound.message_id),
        "recipient": one_word(inbound.sender),
        "forms": " ".join(map(one_word, inbound.forms or (inbound.sender,))),
        "name": storable(inbound.name) or None,
        "kind": storable(inbound.kind),
        "text": said or None,
        "word": word or None,
        "payload": storable(inbound.payload) or None,
        "context_id": one_word(inbound.answers) or None,
        **_file(session, inbound, now),
        "opt_out": policy.wish(word),
        "written_at": min(inbound.written_at or now, now),
        "created_at": now,
    }


def _file(session: InboxSession, inbound: Inbound, now: int) -> dict[str, Any]:
    """Return the columns by which a file that came with a reply is fetched, if it is to be kept."""
    if inbound.file is None or not session.settings.get("keep_files"):
        return {"media": None, "file_due_at": None}
    said = {name: storable(value, longest=_LONGEST_URL) for name, value in inbound.file.items()}
    return {"media": said, "file_due_at": now}


class SettledReply(NamedTuple):
    """A reply that was settled just now; `confirmation` is to be sent to its writer."""

    id: str
    client_id: str
    session_id: str
    recipient: str
    broadcast_id: str | None
    opt_out: str | None
    confirmation: str | None


_TABLE = cast("Table", Reply.__table__)


def is_waiting(db: Db) -> bool:
    """Return whether a reply waits to be settled."""
    return db.scalar(select(Reply.id).where(Reply.settled_at.is_(None)).limit(1)) is not None


def settle(db: Db, limit: int, *, elsewhere: Collection[str] = (), now: int) -> list[SettledReply]:
    """Find out what up to `limit` replies answer, the oldest first, and count them.

    Other processes settle those to the sessions that are `elsewhere`.
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
    """Return what replies answer: the message that they name, else the last one of the writer's."""
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
    """Return what writers have got of the newest broadcasts of a session, the latest first."""
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


class ReplyFilter(NamedTuple):
    """Which replies are asked for; an empty value asks for any."""

    recipients: tuple[str, ...] = ()
    broadcast_id: str = ""
    session_id: str = ""
    text: str = ""


def page(
    db: Db, client_id: str, wanted: ReplyFilter, request: paging.PageRequest
) -> paging.Page[Reply]:
    """Return one page of the replies to a client's sessions."""
    mine = owned.mine(Reply, client_id)
    if wanted.recipients:
        mine = mine.where(Reply.recipient.in_(wanted.recipients))
    if wanted.broadcast_id:
        mine = mine.where(Reply.broadcast_id == wanted.broadcast_id)
    if wanted.session_id:
        mine = mine.where(Reply.session_id == wanted.session_id)
    if wanted.text:
        mine = mine.where(func.lower(Reply.text).contains(wanted.text.lower(), autoescape=True))
    return paging.fetch(db, mine, Reply.id, request)


def get(db: Db, client_id: str, reply_id: str, *, within: str | None = None) -> Reply:
    """Return a reply to one of a client's sessions; raises NotFoundError."""
    reply = owned.get(db, Reply, client_id, reply_id)
    if within not in {None, reply.session_id}:
        raise NotFoundError("reply", reply_id)
    return reply


class Answer(NamedTuple):
    """What several people answered to a broadcast; `text` is one of the ways they wrote it."""

    text: str | None
    kind: str
    replies: int
    people: int
    last_at: int


def answers(db: Db, broadcast_id: str) -> list[Answer]:
    """Count the replies to a broadcast by what they say, the most frequent answers first.

    Of what is no text, such as pictures, by kind.
    """
    key = func.coalesce(Reply.word, Reply.kind)
    count = func.count()
    said = (
        select(
            func.min(Reply.text),
            func.min(Reply.kind),
            count,
            func.count(Reply.recipient.distinct()),
            func.max(Reply.created_at),
        )
        .where(Reply.broadcast_id == broadcast_id)
        .group_by(key)
        .order_by(count.desc(), key)
        .limit(MOST_WORDS)
    )
    return [Answer(*row) for row in db.execute(said)]
