"""Replies: what people write to a session.

A webhook stores a reply, and acts on it if it is a keyword, in one transaction. A dispatcher
settles it later: see `settled_replies`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.webhooks import Inbound
from service.core import keywords, owned, paging, wishes
from service.core.deliveries import opted_out
from service.core.deliveries.transitions import storable
from service.core.entries import is_user_id
from service.core.inbox_sessions import InboxSession
from service.core.opt_out_policies import Policy
from service.core.revocations import ClaimKey
from service.core.waiting import one_word
from service.database import insert_missing
from service.errors import NotFoundError
from service.models import Reply

LONGEST_TEXT: Final = 4_096
"""Characters kept of a reply: as long as WhatsApp's may be."""

MOST_WORDS: Final = 100
"""Different answers counted for one broadcast: the most frequent ones."""

_LONGEST_URL: Final = 4_096
"""Characters kept of each value that a provider gives for a file."""

_TYPED: Final = {"text", "button"}
"""The kinds of messages that may be keywords."""


def receive(
    db: Db, session: InboxSession, inbound: Sequence[Inbound], *, now: int
) -> list[ClaimKey]:
    """Store messages from people, and apply the opt-outs and opt-ins of their keywords.

    A message that is stored already changes nothing. Return the revoked claims.
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
    """Return whether a message is a keyword that stops or starts messages."""
    return any(session.policy.wish(_word(each, _text(each))) for each in inbound)


def _text(inbound: Inbound) -> str:
    return storable(inbound.text, longest=LONGEST_TEXT)


def _word(inbound: Inbound, said: str) -> str:
    """Return the text to compare with keywords, empty if the person typed or chose nothing."""
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
    """Return the columns for fetching a reply's file, if the session keeps files."""
    if inbound.file is None or not session.settings.get("keep_files"):
        return {"media": None, "file_due_at": None}
    said = {name: storable(value, longest=_LONGEST_URL) for name, value in inbound.file.items()}
    return {"media": said, "file_due_at": now}


_TABLE = cast("Table", Reply.__table__)


class ReplyFilter(NamedTuple):
    """A filter of replies; an empty value matches any."""

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
    """An answer of several people to a broadcast; `text` is one of their spellings."""

    text: str | None
    kind: str
    replies: int
    people: int
    last_at: int


def answers(db: Db, broadcast_id: str) -> list[Answer]:
    """Count the replies to a broadcast by content, the most frequent answers first.

    Replies without text, such as pictures, count by kind.
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
