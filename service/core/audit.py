"""The audit log: an entry for each request or command that changes something.

The code that starts a request or a command announces it with `begin`. The first transaction that
changes a row stores the entry just before it commits, so that neither exists without the other. No
view writes an entry, so none can forget it: `LISTENERS` watch every writing transaction.

What the service does on its own, such as sending, has no action and gets no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, event, insert, inspect
from sqlalchemy.orm import Session as Db

from service import statements
from service.database import is_postgres, now_ms
from service.models import ActionSource, AuditEntry, Client

_WATCH: Final = "crier_audit_watch"
"""The key in a session's `info` for what the transaction has changed so far."""

_UNTOLD: Final = frozenset({"id", "created_at", "updated_at", "version", "roster"})
_OF_MANY: Final = frozenset({"import"})
"""Verbs that concern many objects, none of which stands for all."""

_SHOWN: Final = 4
_SHORTEST: Final = 2 * _SHOWN


@dataclass(slots=True)
class Action:
    """What a request or command does. `name` is a noun and a verb, such as `broadcast.pause`.

    `token_id` is the token that allows it. `object_id` is known if the request names the object.
    """

    name: str
    source: ActionSource
    address: str | None = None
    request_id: str | None = None
    client_id: str | None = None
    token_id: str | None = None
    object_id: str | None = None
    detail: str | None = None
    is_entered: bool = False


_current: ContextVar[Action | None] = ContextVar("crier_action", default=None)


def begin(action: Action | None) -> None:
    """Set the action of this thread from now on; None: nothing is audited."""
    _current.set(action)


@contextmanager
def doing(action: Action | None) -> Iterator[None]:
    """Set the action of this block; None: the block is not audited."""
    token = _current.set(action)
    try:
        yield
    finally:
        _current.reset(token)


def describe(detail: str) -> None:
    """Add a detail to the entry of the current action.

    It must not contain a secret, a complete phone number or a message text.
    """
    if action := _current.get():
        action.detail = detail


def mask(text: str) -> str:
    """Return the last digits of a phone number, which an entry may show."""
    return f"…{text[-_SHOWN:]}" if len(text) >= _SHORTEST else "…"


def refuse(db: Db, name: str, reason: str, *, client_id: str | None, token_id: str | None) -> None:
    """Store an entry for a refused request instead of the current action's entry."""
    db.connection()
    watch: _Watch | None = db.info.get(_WATCH)
    if watch is None:
        return
    refused = {"action": name, "detail": reason, "client_id": client_id, "token_id": token_id}
    db.execute(insert(AuditEntry), _values(watch.action) | refused)
    watch.is_entered = True


class _Watch:
    """What one transaction of an action changes."""

    def __init__(self, action: Action, connection: Connection, *, counts: bool) -> None:
        self.action = action
        self.client_id, self.token_id = action.client_id, action.token_id
        self.object_id = action.object_id
        self.changed: set[str] = set()
        self.is_entered = False
        noun, _, verb = action.name.partition(".")
        self._table = "" if verb in _OF_MANY else f"{noun}s"
        self.has_changes = self._count(connection) if counts else _more_changes(connection)

    def see(self, row: Any, *, is_dirty: bool) -> None:
        """Note the owner of a row that is written, and its columns if it is the action's object."""
        owner = row.id if isinstance(row, Client) else getattr(row, "client_id", None)
        self.client_id = self.client_id or owner
        self.token_id = self.token_id or getattr(row, "token_id", None)
        if row.__tablename__ == self._table:
            self.object_id = self.object_id or getattr(row, "id", None)
            if is_dirty and row.id == self.object_id:
                self.changed |= _changed(row)

    def values(self) -> dict[str, Any]:
        """Return the entry's columns."""
        seen = {
            "client_id": self.client_id,
            "token_id": self.token_id,
            "object_id": self.object_id,
            "changed": ", ".join(sorted(self.changed)) or None,
        }
        return _values(self.action) | seen

    def _count(self, connection: Connection) -> Callable[[], bool]:
        """Listen to the statements of a connection; return whether one has changed a row."""
        found: list[bool] = []

        def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if not found and cursor.rowcount > 0 and statements.changes(statement):
                found.append(True)

        event.listen(connection, "after_cursor_execute", note)
        return lambda: bool(found)


def _more_changes(connection: Connection) -> Callable[[], bool]:
    """Return a function that says whether an SQLite connection has changed rows since this call."""
    driver: Any = connection.connection.driver_connection
    before = driver.total_changes
    return lambda: driver.total_changes > before


def _changed(row: Any) -> set[str]:
    """Return the names of the columns of a row that are being changed."""
    return {each.key for each in inspect(row).attrs if each.history.has_changes()} - _UNTOLD


def _values(action: Action) -> dict[str, Any]:
    return {
        "created_at": now_ms(),
        "client_id": action.client_id,
        "action": action.name,
        "source": action.source,
        "object_id": action.object_id,
        "token_id": action.token_id,
        "address": action.address,
        "request_id": action.request_id,
        "detail": action.detail,
    }


def _watch(db: Db, transaction: Any, connection: Connection) -> None:
    """Start to watch a transaction of an action that has no entry yet."""
    action = _current.get()
    if action is None or action.is_entered or transaction.nested:
        return
    db.info[_WATCH] = _Watch(action, connection, counts=is_postgres(db))


def _see(db: Db, _context: Any) -> None:
    """Look at the rows that are written."""
    watch: _Watch | None = db.info.get(_WATCH)
    if watch is None:
        return
    for row in (*db.new, *db.deleted):
        watch.see(row, is_dirty=False)
    for row in db.dirty:
        watch.see(row, is_dirty=True)


def _enter(db: Db) -> None:
    """Store the entry, if the transaction has changed anything."""
    watch: _Watch | None = db.info.get(_WATCH)
    if watch is None or watch.is_entered or db.in_nested_transaction():
        return
    db.flush()
    if watch.has_changes():
        db.execute(insert(AuditEntry), watch.values())
        watch.is_entered = True


def _finish(db: Db) -> None:
    """Note that the action has its entry, which also covers its later changes."""
    watch: _Watch | None = db.info.get(_WATCH)
    if watch is not None and watch.is_entered:
        watch.action.is_entered = True
        del db.info[_WATCH]


LISTENERS: Final[dict[str, Callable[..., None]]] = {
    "after_begin": _watch,
    "after_flush": _see,
    "before_commit": _enter,
    "after_commit": _finish,
}
"""What listens to the sessions of all writing transactions, by SQLAlchemy's names of events."""
