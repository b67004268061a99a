"""The sandbox: a provider on this machine's disk, for trying things out and for tests.

It accepts, mints a message id and keeps what it received in an SQLite file of its own, apart from
the service's database, so that what was promised can be compared with what arrived. Like a good
provider it is idempotent: a part offered again under the same reference gets the same message id
and is kept once (a session may turn that off).

Some recipients behave on purpose, in the manner of Twilio's magic numbers
(https://www.twilio.com/docs/iam/test-credentials) and GOV.UK Notify's
(https://docs.notifications.service.gov.uk/rest-api.html#testing). They are from the range
555-0100 to 555-0199 that the North American Numbering Plan keeps free for fiction, so that
nobody's telephone has one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from marshmallow import Schema, fields, validate

from service import ids
from service.channels.base import (
    Account,
    BlockedError,
    Content,
    DriverContext,
    Media,
    Part,
    PermanentError,
    RetryableError,
    Text,
    UncertainError,
    Webhook,
)
from service.channels.steps import Call, Conversation, Pause, Workers, result

UNREACHABLE = "12025550101"
RETRIED = "12025550102"
THROTTLED = "12025550103"
UNCERTAIN = "12025550104"
SLOW = "12025550105"
FLAKY = "12025550106"

_STORE_WAIT = 5.0
"""Seconds that a session rests when the sandbox's own disk is full or broken."""

SLOWNESS = 2.0
"""Seconds that the slow recipient takes."""

MAGIC = {
    UNREACHABLE: "fails for good: not on the channel",
    RETRIED: "fails once, is delivered at the second attempt",
    THROTTLED: "is refused once with a wait of 3 seconds, then delivered",
    UNCERTAIN: "is delivered, but the first answer is lost",
    SLOW: f"is delivered after {SLOWNESS:g} seconds",
    FLAKY: "fails at every attempt until they are used up",
}
"""What the magic recipients do, for the documentation."""

_STORING: Final = Workers("sandbox", 2)

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS messages (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, session_id TEXT NOT NULL,
        recipient TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
        message_id TEXT NOT NULL, received_at INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS messages_by_reference ON messages (reference);
    CREATE INDEX IF NOT EXISTS messages_by_session ON messages (session_id, number);
    CREATE TABLE IF NOT EXISTS offers (
        reference TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""


# The newest messages by their number, which is the primary key, whatever there is besides.
_LATELY = """FROM (SELECT * FROM messages ORDER BY number DESC LIMIT 20000)
    WHERE session_id IN (SELECT value FROM json_each(?))"""
_PHONES = f"""SELECT recipient, count(*), max(received_at) {_LATELY}
    GROUP BY recipient ORDER BY max(number) DESC LIMIT ?"""
_CONVERSATION = f"SELECT * {_LATELY} AND recipient = ? ORDER BY number DESC LIMIT 100"
_KEPT = "SELECT message_id FROM messages WHERE reference = ?"
_KEEP = """
    INSERT INTO messages
        (reference, session_id, recipient, kind, body, message_id, received_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class Prepared(NamedTuple):
    """A part as the store keeps it."""

    kind: str
    body: str


class Settings(Schema):
    """The sandbox's own choices; all have defaults."""

    idempotent = fields.Boolean(
        load_default=True,
        metadata={"description": "Keep a part that is offered twice under one reference once"},
    )
    latency = fields.Float(
        load_default=0.0,
        validate=validate.Range(min=0, max=60),
        metadata={"description": "Seconds until every message is answered"},
    )


class Sandbox:
    """A driver that delivers into the sandbox's own store."""

    name: ClassVar[str] = "sandbox"
    reaches_groups: ClassVar[bool] = True
    echoes_references: ClassVar[bool] = True
    concurrency: ClassVar[int | None] = None
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, surroundings: DriverContext) -> None:
        """Open the account; the store is made with the first message."""
        self._session_id = account.session_id
        self._idempotent = bool(account.settings.get("idempotent", True))
        self._latency = float(account.settings.get("latency", 0.0))
        self._path = surroundings.sandbox_store

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Cut a message into parts: the text first, then the rest in the order of the guide."""
        text = (Text(content.text),) if content.text else ()
        others = (content.location, content.contact, content.template)
        extras = tuple(part for part in others if part)
        return (*text, *content.media, *extras)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render a part as the store keeps it."""
        body = asdict(part)
        if isinstance(part, Media):
            body.pop("path")
        return Prepared(type(part).__name__.lower(), json.dumps(body))

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:
        """Keep a part and return the message id, or do what the magic recipient stands for."""
        offer = 0
        if recipient in MAGIC:
            offer = yield Call(_STORING, partial(self._count_offer, reference))
            if recipient == SLOW and offer == 1:
                yield Pause(SLOWNESS)
            _refuse(recipient, offer)
        keep = partial(self._keep, recipient, prepared, reference)
        message_id: str = yield Call(_STORING, keep, once=True)
        if self._latency:  # a provider has the message, and then takes its time to answer
            yield Pause(self._latency)
        if recipient == UNCERTAIN and offer == 1:
            known_as = message_id if self._idempotent else ""
            reason = "The sandbox's answer was lost on the way."
            raise UncertainError(reason, code="no_answer", provider_id=known_as)
        return message_id

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Tell whether a repeat under the same reference is dropped."""
        return result(value=self._idempotent)

    def check(self) -> Conversation[None]:
        """Find nothing wrong: the sandbox can always send."""
        return result(None)

    def _count_offer(self, reference: str) -> int:
        with _trouble_told():
            return Store.at(self._path).count_offer(_delivery(reference))

    def _keep(self, recipient: str, prepared: Prepared, reference: str) -> str:
        with _trouble_told():
            return Store.at(self._path).keep(
                self._session_id, recipient, prepared, reference, once=self._idempotent
            )


@contextmanager
def _trouble_told() -> Iterator[None]:
    """Say in words what is wrong with the store's disk."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        reason = f"The sandbox cannot write its store ({error})."
        raise BlockedError(reason, code="store", wait=_STORE_WAIT) from error


def _delivery(reference: str) -> str:
    """Return what the references of a delivery's parts have in common."""
    return reference.rpartition(".")[0] or reference


def _refuse(recipient: str, offer: int) -> None:
    """Raise what a magic recipient stands for at this offer, if it stands for a refusal."""
    if recipient == UNREACHABLE:
        raise PermanentError("This number is not on the channel.", code="not_on_channel")
    if recipient == RETRIED and offer == 1:
        raise RetryableError("The sandbox had a passing fault.", code="try_again")
    if recipient == THROTTLED and offer == 1:
        raise RetryableError("Too many messages to this number.", code="rate_limit", wait=3.0)
    if recipient == FLAKY:
        raise RetryableError("The sandbox has a fault that does not pass.", code="try_again")


class Store:
    """What the sandbox received: one SQLite file, shared by all processes.

    `synchronous=OFF`: what is written survives the death of any process, though not a power cut.
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
        self._connection.executescript(_SCHEMA)

    @classmethod
    def at(cls, path: Path) -> Store:
        """Return this process's store in a file; SQLite's connections do not survive a fork."""
        mine = (os.getpid(), path)
        with cls._opening:
            if mine not in cls._open:
                cls._open[mine] = cls(path)
            return cls._open[mine]

    def count_offer(self, reference: str) -> int:
        """Count how often something was offered, this time included."""
        with self._turn:
            row = self._connection.execute(
                "INSERT INTO offers VALUES (?, 1)"
                " ON CONFLICT (reference) DO UPDATE SET count = count + 1 RETURNING count",
                (reference,),
            ).fetchone()
        return int(row[0])

    def keep(
        self, session_id: str, recipient: str, prepared: Prepared, reference: str, *, once: bool
    ) -> str:
        """Keep a part; where `once`, a repeat gets the first one's message id and no second row."""
        now = time.time_ns() // 1_000_000
        row = (reference, session_id, recipient, *prepared, f"sandbox-{ids.new()}", now)
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            # As a context the connection commits, or undoes what failed.
            with self._connection:
                kept = once and self._connection.execute(_KEPT, (reference,)).fetchone()
                if not kept:
                    self._connection.execute(_KEEP, row)
        return str(kept[0]) if kept else row[5]


def received(
    path: Path,
    session_ids: Sequence[str],
    offset: int = 0,
    limit: int = 1000,
    *,
    descending: bool = False,
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many messages the sandbox has for these sessions, and one page of them."""
    if not session_ids:
        return 0, []
    order = "number DESC" if descending else "number"
    where = f"FROM messages WHERE session_id IN ({_marks(session_ids)})"
    with _looking(path) as connection:
        total = connection.execute(f"SELECT count(*) {where}", tuple(session_ids)).fetchone()[0]
        rows = connection.execute(
            f"SELECT * {where} ORDER BY {order} LIMIT ? OFFSET ?",
            (*session_ids, limit, offset),
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
    """Return what a number received lately from these sessions, the oldest first."""
    with _looking(path) as connection:
        values = (json.dumps(list(session_ids)), recipient)
        rows = connection.execute(_CONVERSATION, values).fetchall()
    return [_message(row) for row in reversed(rows)]


@contextmanager
def _looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection of its own for a look into the store."""
    Store.at(path)  # so that there is one, with its tables
    connection = sqlite3.connect(path, timeout=30.0)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _message(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "body": json.loads(row["body"])}
