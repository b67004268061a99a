"""Receipts that wait: reports of a provider as rows, from their arrival until they are applied.

Reports that came in one webhook share rows: a row for each would be most of what a receipt costs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    TemplateError,
    UnknownCodeError,
)
from service.channels.webhooks import Notice, Receipt, ReceiptState
from service.core.deliveries.transitions import storable
from service.database import is_postgres, pieces
from service.models import WaitingReceipt

ACCOUNT: Final = "account"
"""The state of a report on the account, not on a message."""

MOST_TOGETHER: Final = 100
"""The most reports in a row."""

_REFERENCE = re.compile(r"([0-9a-f]{24})\.([0-9]{1,4})")
"""The reference to a part of a delivery, as `dispatch.sending.sender` writes it."""

_KINDS: Final[Mapping[str, type[SendError]]] = {
    "retryable": RetryableError,
    "permanent": PermanentError,
    "request": RequestError,
    "template": TemplateError,
    "unknown": UnknownCodeError,
    "blocked": BlockedError,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


class WaitingReport(NamedTuple):
    """A report that waits: on a part of a message, or on the account.

    The part is known by `delivery_id` and `part` if the provider returned our reference, else by
    `message_id`, the provider's, and `recipients`: the possible forms of the recipient, separated
    by spaces. For a failure, `kind` is the class of the error and `wait` its seconds. A row has all
    but the first two fields, without those at the end that are as here.
    """

    session_id: str
    received_at: int
    state: str
    message_id: str = ""
    delivery_id: str | None = None
    part: int = 0
    pricing: str | None = None
    recipients: str = ""
    kind: str | None = None
    wait: float | None = None
    code: str | None = None
    reason: str | None = None
    opted_out: bool = False


class Amount(NamedTuple):
    """A number of reports, and the bytes of their rows. Rows of version 1.0 count as empty."""

    reports: int
    bytes: int

    def fits(self, room: Amount) -> bool:
        """Return whether there is room for it."""
        return self.reports <= room.reports and self.bytes <= room.bytes


class WaitingRow(NamedTuple):
    """A row before it is stored: words of one session that came together."""

    id: str
    session_id: str
    received_at: int
    due_at: int
    size: int
    words: str


def pack(session_id: str, said: Iterable[Receipt | Notice], *, now: int) -> list[WaitingRow]:
    """Return the rows of reports on a session that arrive at `now`."""
    return [*_rows(session_id, now, now, [_packed(each) for each in said])]


def size(rows: Sequence[WaitingRow]) -> Amount:
    """Return how much rows are."""
    return Amount(sum(row.size for row in rows), sum(len(row.words) for row in rows))


_KEEP: Final = """
    INSERT INTO waiting_receipts
        (id, session_id, received_at, due_at, size, words, message_id, state, opted_out)
    SELECT *, '', '', FALSE FROM {rows}
"""
_RECORDS: Final = """json_to_recordset(CAST(:rows AS json)) AS kept(id text, session_id text,
    received_at bigint, due_at bigint, size int, words text)"""
_PLACES: Final = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(6))
_KEEP_POSTGRES: Final = text(_KEEP.format(rows=_RECORDS))
_KEEP_SQLITE: Final = text(_KEEP.format(rows=f"(SELECT {_PLACES} FROM json_each(:rows))"))  # noqa: S608 - numbers


def keep(db: Db, rows: Sequence[WaitingRow]) -> None:
    """Keep rows, in one statement: one for each would take twice as long.

    As JSON: psycopg takes 1 µs for each quotation mark of a text in an array.
    """
    if is_postgres(db):
        db.execute(_KEEP_POSTGRES, {"rows": _encode([row._asdict() for row in rows])})
    else:
        db.execute(_KEEP_SQLITE, {"rows": _encode(rows)})


def keep_again(db: Db, later: Iterable[tuple[WaitingReport, int]]) -> None:
    """Keep words that were taken, until they are due again."""
    alike: dict[tuple[str, int, int], list[Sequence[Any]]] = {}
    for word, due_at in later:
        alike.setdefault((word.session_id, word.received_at, due_at), []).append(word[2:])
    if rows := [row for key, words in alike.items() for row in _rows(*key, words)]:
        keep(db, rows)


def _rows(
    session_id: str, received_at: int, due_at: int, words: Sequence[Sequence[Any]]
) -> Iterator[WaitingRow]:
    for some in pieces(words, MOST_TOGETHER):
        yield WaitingRow(ids.new(), session_id, received_at, due_at, len(some), _encode(some))


_encode = json.JSONEncoder(separators=(",", ":")).encode
"""To ASCII: a character is a byte."""


def amount(db: Db, session_id: str) -> Amount:
    """Return how much waits for a session."""
    # Postgres knows the bytes of a text without reading it.
    length = func.octet_length if is_postgres(db) else func.length
    all_bytes = func.sum(length(WaitingReceipt.words))
    mine = select(func.sum(WaitingReceipt.size), all_bytes)
    reports, total = db.execute(mine.where(WaitingReceipt.session_id == session_id)).one()
    return Amount(reports or 0, total or 0)


_SESSIONS = text("""
    WITH RECURSIVE told(id) AS (
        SELECT min(session_id) FROM waiting_receipts
        UNION ALL
        SELECT (SELECT min(session_id) FROM waiting_receipts WHERE session_id > told.id)
        FROM told WHERE told.id IS NOT NULL)
    SELECT s.client_id, s.id AS session_id FROM told JOIN sessions AS s ON s.id = told.id
    WHERE EXISTS (
        SELECT 1 FROM waiting_receipts AS w WHERE w.session_id = told.id AND w.due_at <= :now)
""")


class DueSession(NamedTuple):
    """A session with due reports, and its client."""

    client_id: str
    session_id: str


def due(db: Db, *, now: int) -> list[DueSession]:
    """Return the sessions with due reports: one index step per session."""
    return [DueSession(*row) for row in db.execute(_SESSIONS, {"now": now})]


_TAKE: Final = """
    WITH due AS (
        SELECT id FROM waiting_receipts
        WHERE session_id = :session_id AND due_at <= :now AND size <= :size
        ORDER BY due_at, id LIMIT :limit {locked})
    DELETE FROM waiting_receipts WHERE id IN (SELECT id FROM due) RETURNING *
"""
_TAKE_SQLITE: Final = text(_TAKE.format(locked=""))
_TAKE_POSTGRES: Final = text(_TAKE.format(locked="FOR UPDATE SKIP LOCKED"))


def take(db: Db, session_id: str, most: int, *, now: int) -> list[WaitingReport]:
    """Take away the oldest due words on a session that no other process takes.

    Less than `most` if there are no more. A row is taken as a whole, so it may be a few more.
    """
    statement = _TAKE_POSTGRES if is_postgres(db) else _TAKE_SQLITE
    found: list[Row[Any]] = []
    left, size = most, MOST_TOGETHER
    while left > 0:
        limit = max(1, left // size)
        values = {"session_id": session_id, "now": now, "size": size, "limit": limit}
        rows = db.execute(statement, values).all()
        found += rows
        left -= sum(row.size for row in rows)
        if len(rows) == limit:
            # The next ones are as small: if each was alone, take hundreds in one statement.
            size = max(row.size for row in rows)
        elif size < MOST_TOGETHER:
            size = MOST_TOGETHER
        else:
            break
    # RETURNING promises no order, and small rows were taken before larger ones.
    found.sort(key=_age)
    return [word for row in found for word in _words(row)]


def _age(row: Row[Any]) -> tuple[int, str]:
    return row.due_at, row.id


def _words(row: Row[Any]) -> Iterator[WaitingReport]:
    if row.words is None:
        yield _of_version_1_0(row)
    else:
        session_id, received_at = row.session_id, row.received_at
        for each in json.loads(row.words):
            yield WaitingReport(session_id, received_at, *each)


def _of_version_1_0(row: Row[Any]) -> WaitingReport:
    return WaitingReport(
        session_id=row.session_id,
        received_at=row.received_at,
        state=row.state,
        message_id=row.message_id,
        delivery_id=row.delivery_id,
        part=row.part or 0,
        recipients=row.recipients or "",
        kind=row.kind,
        wait=row.wait,
        code=row.code,
        reason=row.reason,
        opted_out=bool(row.opted_out),
    )


def _packed(said: Receipt | Notice) -> Sequence[Any]:
    """Return a report as a row has it; see `WaitingReport`."""
    if isinstance(said, Notice):
        return (ACCOUNT, "", None, 0, None, "", *_error(said.error))
    ours = _REFERENCE.fullmatch(said.reference)
    place = (ours[1], int(ours[2])) if ours else (None, 0)
    known = (said.state, one_word(said.provider_id), *place, storable(said.pricing) or None)
    if ours and said.error is None:
        return known
    return (*known, storable(" ".join(said.recipients)), *_error(said.error))


LONGEST_WORD: Final = 500
"""Characters of a provider's id. An index of Postgres takes 2,704 bytes, four for a character."""

_USUAL = re.compile(f"[!-~]{{1,{LONGEST_WORD}}}")


def one_word(message_id: str) -> str:
    """Remove whitespace from a provider's id: stored ids are separated by spaces."""
    if _USUAL.fullmatch(message_id):
        return message_id
    return "".join(storable(message_id, longest=LONGEST_WORD).split())


def error(word: WaitingReport, now: int) -> SendError | None:
    """Restore the driver's error from a word, with the rest of its wait."""
    kind = word.kind or ("permanent" if word.state == ReceiptState.FAILED else None)
    if kind is None:
        return None
    reason, code = word.reason or "", word.code or ""
    wait = word.wait and max(0.0, word.wait - (now - word.received_at) / 1000)
    match kind:
        case "retryable":
            return RetryableError(reason, code=code, wait=wait or 0.0)
        case "blocked":
            return BlockedError(reason, code=code, wait=wait)
        case "permanent":
            return PermanentError(reason, code=code, opted_out=word.opted_out)
        case _:
            return _KINDS[kind](reason, code=code)


def _error(error: SendError | None) -> Sequence[Any]:
    """Return the last fields of a word."""
    if error is None:
        return ()
    return (
        _NAMES.get(type(error), "retryable"),
        getattr(error, "wait", None),
        storable(error.code) or None,
        storable(error.reason) or None,
        getattr(error, "opted_out", False),
    )
