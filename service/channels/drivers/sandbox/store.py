"""The sandbox's store: what it received, in an SQLite file of its own.

It is apart from the service's database, so that tests can compare the two. A body is kept once for
each client, however many people got it. The newest messages of each client are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from service import ids

MOST_OFFERS: Final = 10_000
"""The most deliveries of a client to special recipients whose attempts are counted."""

_ROW: Final = 512
"""Bytes that a message takes besides its body, with its indexes."""

_STEP: Final = 100
_TRIMMED_EVERY: Final = 1_000

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS messages (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, client_id TEXT NOT NULL,
        session_id TEXT NOT NULL, recipient TEXT NOT NULL, kind TEXT NOT NULL,
        body_id INTEGER NOT NULL, message_id TEXT NOT NULL, received_at INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS messages_by_reference ON messages (reference)",
    "CREATE INDEX IF NOT EXISTS messages_by_session ON messages (session_id, number)",
    "CREATE INDEX IF NOT EXISTS messages_by_client ON messages (client_id, number)",
    "CREATE INDEX IF NOT EXISTS messages_by_body ON messages (body_id)",
    """CREATE TABLE IF NOT EXISTS bodies (
        id INTEGER PRIMARY KEY, client_id TEXT NOT NULL, digest BLOB NOT NULL, body TEXT NOT NULL,
        UNIQUE (client_id, digest))""",
    """CREATE TABLE IF NOT EXISTS clients (
        client_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS attempts (
        number INTEGER PRIMARY KEY, client_id TEXT NOT NULL, reference TEXT NOT NULL UNIQUE,
        count INTEGER NOT NULL, offered_at INTEGER NOT NULL)""",
)

# Up to version 1.0 a message had its body beside it, and named no client.
_FORMER: Final = (
    "DROP INDEX messages_by_reference",
    "DROP INDEX messages_by_session",
    "DROP TABLE offers",
    "ALTER TABLE messages RENAME TO former",
)
_TAKEN_OVER: Final = (
    """INSERT OR IGNORE INTO bodies (client_id, digest, body)
        SELECT '', digest(body), body FROM former""",
    """INSERT INTO messages SELECT number, reference, '', session_id, recipient, kind,
        (SELECT id FROM bodies WHERE client_id = '' AND digest = digest(former.body)),
        message_id, received_at FROM former""",
    """INSERT INTO clients SELECT '', row_bytes() * (SELECT count(*) FROM messages)
        + (SELECT coalesce(sum(length(body)), 0) FROM bodies)""",
    "DROP TABLE former",
)

_COLUMNS = """reference, session_id, recipient, kind, message_id, received_at,
    (SELECT body FROM bodies WHERE id = body_id) AS body"""
# The newest messages by their number, which is the primary key, whatever there is besides.
_LATELY = """FROM (SELECT * FROM messages ORDER BY number DESC LIMIT 20000)"""
_MINE = "WHERE session_id IN (SELECT value FROM json_each(?))"
_PHONES = f"""SELECT recipient, count(*), max(received_at) {_LATELY} {_MINE}
    GROUP BY recipient ORDER BY max(number) DESC LIMIT ?"""
_CONVERSATION = f"""SELECT {_COLUMNS} {_LATELY} {_MINE}
    AND recipient = ? ORDER BY number DESC LIMIT 100"""

_KEPT = "SELECT message_id FROM messages WHERE reference = ?"
_KEEP = """INSERT INTO messages (reference, client_id, session_id, recipient, kind, body_id,
    message_id, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_BODY = "SELECT id FROM bodies WHERE client_id = ? AND digest = ?"
_NEW_BODY = "INSERT INTO bodies (client_id, digest, body) VALUES (?, ?, ?) RETURNING id"
_USE = """INSERT INTO clients VALUES (?1, ?2)
    ON CONFLICT (client_id) DO UPDATE SET bytes = bytes + ?2 RETURNING bytes"""
_OLDEST = "SELECT number FROM messages WHERE client_id = ? ORDER BY number LIMIT ?"
_DROP = """DELETE FROM messages WHERE number IN (SELECT value FROM json_each(?))
    RETURNING client_id, body_id"""
_DROP_BODIES = """DELETE FROM bodies WHERE id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM messages WHERE body_id = bodies.id)
    RETURNING client_id, length(body)"""
_OFFER = """INSERT INTO attempts (client_id, reference, count, offered_at) VALUES (?, ?, 1, ?)
    ON CONFLICT (reference) DO UPDATE SET count = count + 1 RETURNING count, number"""
_TRIM = """DELETE FROM attempts WHERE number IN (SELECT number FROM (
    SELECT number, row_number() OVER (PARTITION BY client_id ORDER BY number DESC) AS place
    FROM attempts) WHERE place > ?)"""
_FORGET_OFFERS = "DELETE FROM attempts WHERE offered_at < ?"
_FIRST = "SELECT number, received_at FROM messages ORDER BY number LIMIT ?"


class Prepared(NamedTuple):
    """A part in the form that the store keeps."""

    kind: str
    body: str


class Message(NamedTuple):
    """A part for one recipient, and who sends it."""

    client_id: str
    session_id: str
    recipient: str
    reference: str
    prepared: Prepared


class Store:
    """The messages that the sandbox received: an SQLite file, shared by all processes.

    `synchronous=OFF`: writes survive the death of a process, but not a power cut.
    """

    _open: ClassVar[dict[tuple[int, Path], Store]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=30.0, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.create_function("digest", 1, _digest, deterministic=True)
        self._connection.create_function("row_bytes", 0, lambda: _ROW)
        with self._writing() as connection:
            _prepare(connection)

    @classmethod
    def at(cls, path: Path) -> Store:
        """Return this process's store. SQLite connections do not survive a fork."""
        mine = (os.getpid(), path)
        with cls._opening:
            if mine not in cls._open:
                cls._open[mine] = cls(path)
            return cls._open[mine]

    def count_offer(self, client_id: str, reference: str) -> int:
        """Count the attempts with a reference, including this one."""
        with self._writing() as connection:
            counted = connection.execute(_OFFER, (client_id, reference, _now())).fetchone()
            count, number = counted
            if count == 1 and number % _TRIMMED_EVERY == 0:
                connection.execute(_TRIM, (MOST_OFFERS,))
        return int(count)

    def keep(self, message: Message, *, once: bool, most: int) -> str:
        """Store a part, and drop the client's oldest messages while it has more than `most` bytes.

        With `once`, a repeat returns the first message id and adds no row.
        """
        message_id = f"sandbox-{ids.new()}"
        with self._writing() as connection:
            kept = once and connection.execute(_KEPT, (message.reference,)).fetchone()
            if kept:
                return str(kept[0])
            client_id, session_id, recipient, reference, (kind, body) = message
            body_id, size = _body(connection, client_id, body)
            row = (*(reference, client_id, session_id, recipient, kind), body_id, message_id)
            connection.execute(_KEEP, (*row, _now()))
            used = _use(connection, client_id, _ROW + size)
            while used > most and (oldest := _oldest(connection, client_id)):
                used -= _drop(connection, oldest)[client_id]
        return message_id

    def forget(self, before: int, limit: int) -> int:
        """Delete up to `limit` messages from before a time, and attempts; return how many."""
        with self._writing() as connection:
            connection.execute(_FORGET_OFFERS, (before,))
            first = connection.execute(_FIRST, (limit,)).fetchall()
            old = [number for number, moment in first if moment < before]
            _drop(connection, old)
        return len(old)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the store for one transaction; it is undone if it fails."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                yield self._connection


def received(  # noqa: PLR0913 - a page of a list that is filtered
    path: Path,
    session_ids: Sequence[str],
    offset: int = 0,
    limit: int = 1000,
    *,
    recipients: Sequence[str] = (),
    descending: bool = False,
) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of messages of these sessions, to some recipients or all, and one page."""
    if not session_ids:
        return 0, []
    order = "number DESC" if descending else "number"
    where = f"FROM messages WHERE session_id IN ({_marks(session_ids)})"
    if recipients:
        where = f"{where} AND recipient IN ({_marks(recipients)})"
    wanted = (*session_ids, *recipients)
    with _looking(path) as connection:
        total = connection.execute(f"SELECT count(*) {where}", wanted).fetchone()[0]
        rows = connection.execute(
            f"SELECT {_COLUMNS} {where} ORDER BY {order} LIMIT ? OFFSET ?",
            (*wanted, limit, offset),
        ).fetchall()
    return total, [_message(row) for row in rows]


class Phone(NamedTuple):
    """A number that has received something: how many messages, and when the last one came."""

    recipient: str
    messages: int
    latest: int


def phones(path: Path, session_ids: Sequence[str], limit: int = 60) -> list[Phone]:
    """Return the numbers that received something lately from these sessions, the latest first.

    Only the newest messages of all are looked at: there may be a million of them.
    """
    with _looking(path) as connection:
        rows = connection.execute(_PHONES, (json.dumps(list(session_ids)), limit)).fetchall()
    return [Phone(*row) for row in rows]


def conversation(path: Path, session_ids: Sequence[str], recipient: str) -> list[dict[str, Any]]:
    """Return the latest messages to a number from these sessions, oldest first."""
    with _looking(path) as connection:
        values = (json.dumps(list(session_ids)), recipient)
        rows = connection.execute(_CONVERSATION, values).fetchall()
    return [_message(row) for row in reversed(rows)]


def extent(path: Path, before: int) -> int:
    """Count the messages from before a time; there is no store before the first message."""
    if not path.exists():
        return 0
    with _looking(path) as connection:
        old = connection.execute("SELECT count(*) FROM messages WHERE received_at < ?", (before,))
        return int(old.fetchone()[0])


def forget(path: Path, before: int, limit: int) -> int:
    """Delete up to `limit` messages from before a time; return how many."""
    return Store.at(path).forget(before, limit) if path.exists() else 0


@contextmanager
def _looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a separate connection to read the store."""
    Store.at(path)  # creates the file and its tables
    connection = sqlite3.connect(path, timeout=30.0)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    """Create the tables; migrate the messages of earlier versions of the service."""
    former = {row[1] for row in connection.execute("PRAGMA table_info(messages)")}
    takes_over = "body" in former
    for statement in (
        *(_FORMER if takes_over else ()),
        *_SCHEMA,
        *(_TAKEN_OVER if takes_over else ()),
    ):
        connection.execute(statement)


def _body(connection: sqlite3.Connection, client_id: str, body: str) -> tuple[int, int]:
    """Return the id of a body, and how many bytes it adds: none if the client has it already."""
    digest = _digest(body)
    known = connection.execute(_BODY, (client_id, digest)).fetchone()
    if known:
        return known[0], 0
    return connection.execute(_NEW_BODY, (client_id, digest, body)).fetchone()[0], len(body)


def _use(connection: sqlite3.Connection, client_id: str, size: int) -> int:
    """Add to a client's use of storage; return the sum."""
    return int(connection.execute(_USE, (client_id, size)).fetchone()[0])


def _oldest(connection: sqlite3.Connection, client_id: str) -> list[int]:
    rows = connection.execute(_OLDEST, (client_id, _STEP)).fetchall()
    return [number for (number,) in rows]


def _drop(connection: sqlite3.Connection, numbers: Sequence[int]) -> Counter[str]:
    """Delete messages, and bodies that nobody has any more; return the bytes by client."""
    gone = connection.execute(_DROP, (json.dumps(numbers),)).fetchall()
    freed = Counter(dict.fromkeys((client_id for client_id, _ in gone), 0))
    _add(freed, ((client_id, _ROW) for client_id, _ in gone))
    bodies = json.dumps(sorted({body_id for _, body_id in gone}))
    _add(freed, connection.execute(_DROP_BODIES, (bodies,)).fetchall())
    for client_id, size in freed.items():
        _use(connection, client_id, -size)
    return freed


def _add(freed: Counter[str], sizes: Iterable[tuple[str, int]]) -> None:
    for client_id, size in sizes:
        freed[client_id] += size


def _digest(body: str) -> bytes:
    return hashlib.sha256(body.encode()).digest()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _message(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "body": json.loads(row["body"])}
