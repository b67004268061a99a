"""The sandbox: a provider on this machine's disk, for trying things out and for tests.

It accepts messages, assigns ids and stores what it received in its own SQLite file, apart from the
service's database, so that tests can compare the two. Like a good provider it is idempotent: a part
that is sent again with the same reference gets the same id and is stored once. A session can turn
that off.

Some recipients behave in a special way, like Twilio's magic numbers
(https://www.twilio.com/docs/iam/test-credentials) and GOV.UK Notify's
(https://docs.notifications.service.gov.uk/rest-api.html#testing). They are in the range 555-0100 to
555-0199, which the North American Numbering Plan reserves for fiction, so they belong to nobody.
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
from service.channels.base import Account, DriverContext, TemplateInfo
from service.channels.content import Content, Media, Part, Template, Text
from service.channels.errors import BlockedError, PermanentError, RetryableError, UncertainError
from service.channels.steps import Call, Conversation, Pause, result
from service.channels.webhooks import Webhook
from service.channels.workers import Workers

UNREACHABLE = "12025550101"
RETRIED = "12025550102"
THROTTLED = "12025550103"
UNCERTAIN = "12025550104"
SLOW = "12025550105"
FLAKY = "12025550106"

_STORE_WAIT = 5.0
"""Seconds to hold a session when the sandbox's own disk is full or broken."""

SLOWNESS = 2.0
"""Delay of the slow recipient in seconds."""

MAGIC = {
    UNREACHABLE: "fails for good: not on the channel",
    RETRIED: "fails once; the second attempt succeeds",
    THROTTLED: "is refused once with a wait of 3 seconds, then delivered",
    UNCERTAIN: "is delivered, but the first answer is lost",
    SLOW: f"is delivered after {SLOWNESS:g} seconds",
    FLAKY: "fails at every attempt",
}
"""What the special recipients do, for the documentation."""

_CHOICES: Final = frozenset({"when", "marketing"})
"""What of a template says how it is sent, and is kept only if it is set."""

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
    """A part in the form that the store keeps."""

    kind: str
    body: str


class Settings(Schema):
    """Settings of the sandbox. All have defaults."""

    idempotent = fields.Boolean(
        load_default=True,
        metadata={"description": "Store a part that is sent twice with one reference only once"},
    )
    latency = fields.Float(
        load_default=0.0,
        validate=validate.Range(min=0, max=60),
        metadata={"description": "Seconds that the answer to each message takes"},
    )
    unreachable = fields.Boolean(
        load_default=False,
        metadata={"description": "Refuse every recipient, as if none were on the channel"},
    )


class Sandbox:
    """A driver that writes messages to the sandbox's store."""

    name: ClassVar[str] = "sandbox"
    reaches_groups: ClassVar[bool] = True
    reaches_user_ids: ClassVar[bool] = True
    has_templates: ClassVar[bool] = False
    echoes_references: ClassVar[bool] = True
    concurrency: ClassVar[int | None] = None
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Create the driver; the first message creates the store."""
        self._session_id = account.session_id
        self._idempotent = bool(account.settings.get("idempotent", True))
        self._latency = float(account.settings.get("latency", 0.0))
        self._unreachable = bool(account.settings.get("unreachable"))
        self._path = context.sandbox_store

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Split a message into parts: the text first, then the rest in the guide's order."""
        text = (Text(content.text),) if content.text else ()
        others = (content.location, content.contact, content.template)
        extras = tuple(part for part in others if part)
        return (*text, *content.media, *extras)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render a part for the store."""
        body = asdict(part)
        if isinstance(part, Media):
            body.pop("path")
        if isinstance(part, Template):
            body = {name: value for name, value in body.items() if name not in _CHOICES or value}
        return Prepared(type(part).__name__.lower(), json.dumps(body))

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:
        """Store a part and return its id, or do what the special recipient stands for."""
        offer = 0
        if self._unreachable:
            _refuse(UNREACHABLE, 1)
        if recipient in MAGIC:
            offer = yield Call(_STORING, partial(self._count_offer, reference))
            if recipient == SLOW and offer == 1:
                yield Pause(SLOWNESS)
            _refuse(recipient, offer)
        keep = partial(self._keep, recipient, prepared, reference)
        message_id: str = yield Call(_STORING, keep, once=True)
        if self._latency:  # the provider has the message, but answers late
            yield Pause(self._latency)
        if recipient == UNCERTAIN and offer == 1:
            known_as = message_id if self._idempotent else ""
            reason = "The sandbox's answer was lost."
            raise UncertainError(reason, code="no_answer", provider_id=known_as)
        return message_id

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Return whether a repeat with the same reference is dropped."""
        return result(value=self._idempotent)

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return none: the channel has no templates."""
        return result([])

    def check(self) -> Conversation[None]:
        """Do nothing: the sandbox can always send."""
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
    """Turn errors of the store's disk into BlockedError."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        reason = f"The sandbox cannot write its store ({error})."
        raise BlockedError(reason, code="store", wait=_STORE_WAIT) from error


def _delivery(reference: str) -> str:
    """Return the common prefix of the references of a delivery's parts."""
    return reference.rpartition(".")[0] or reference


def _refuse(recipient: str, offer: int) -> None:
    """Raise the error of a special recipient at this attempt, if any."""
    if recipient == UNREACHABLE:
        raise PermanentError("This number is not on the channel.", code="not_on_channel")
    if recipient == RETRIED and offer == 1:
        raise RetryableError("The sandbox had a temporary error.", code="try_again")
    if recipient == THROTTLED and offer == 1:
        raise RetryableError("Too many messages to this number.", code="rate_limit", wait=3.0)
    if recipient == FLAKY:
        raise RetryableError("The sandbox has a lasting error.", code="try_again")


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
        self._connection.executescript(_SCHEMA)

    @classmethod
    def at(cls, path: Path) -> Store:
        """Return this process's store. SQLite connections do not survive a fork."""
        mine = (os.getpid(), path)
        with cls._opening:
            if mine not in cls._open:
                cls._open[mine] = cls(path)
            return cls._open[mine]

    def count_offer(self, reference: str) -> int:
        """Count the attempts with a reference, including this one."""
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
        """Store a part. With `once`, a repeat returns the first message id and adds no row."""
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


def received(  # noqa: PLR0913 - a page of a list that is filtered
    path: Path,
    session_ids: Sequence[str],
    offset: int = 0,
    limit: int = 1000,
    *,
    recipient: str = "",
    descending: bool = False,
) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of messages of these sessions, to one recipient or all, and one page."""
    if not session_ids:
        return 0, []
    order = "number DESC" if descending else "number"
    where = f"FROM messages WHERE session_id IN ({_marks(session_ids)}) AND ? IN ('', recipient)"
    wanted = (*session_ids, recipient)
    with _looking(path) as connection:
        total = connection.execute(f"SELECT count(*) {where}", wanted).fetchone()[0]
        rows = connection.execute(
            f"SELECT * {where} ORDER BY {order} LIMIT ? OFFSET ?", (*wanted, limit, offset)
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
    """Open a separate connection to read the store."""
    Store.at(path)  # creates the file and its tables
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
