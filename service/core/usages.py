"""Usages: how much of its limits a client has used, and the refusal of more.

`listeners` watch all writing transactions, so no verb can forget to count a row that it stores.
Only statements about many rows are noted by whoever executes them. What a transaction stores is
added up and compared with the limits just before it commits: it then holds all its other locks, so
waiting for the client's usage cannot cause a deadlock. Others of the same client wait for the
commit, so exactly as much is stored as a limit allows, and a refused transaction stores nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    JSON,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    inspect,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Session as Db

from service.channels.drivers.sandbox import Sandbox
from service.config import Settings
from service.core import limits, refusals, rosters
from service.core.limits import DAY, Limit
from service.database import now_ms
from service.models import (
    Attachment,
    Broadcast,
    Callback,
    Client,
    ClientOptOut,
    Contact,
    Group,
    GroupMember,
    OptOut,
    Reply,
    Session,
    Token,
    Usage,
)

_NOTED: Final = "crier_usage"
"""The key in a session's `info` for what its transaction stores and removes, by client."""

_ROWS: Final[Mapping[type, Limit]] = {
    Attachment: Limit.ATTACHMENTS,
    Callback: Limit.CALLBACKS,
    Contact: Limit.CONTACTS,
    Group: Limit.GROUPS,
    Session: Limit.SESSIONS,
    Token: Limit.TOKENS,
}
"""The rows that a flush counts."""

_SUMS: Final = (Limit.CONTACTS, Limit.BYTES, Limit.RECIPIENTS)
"""What is added up in a client's row; the others are counted when more is stored."""

_TEXTS: Final = ("name", "organisation", "channel")
_LISTS: Final = ("phones", "emails", "fields", "tags")

# Yesterday's recipients count while another machine's clock still says yesterday.
_ADD: Final = text("""
    INSERT INTO usages (client_id, contacts, bytes, recipients, day)
    VALUES (:client_id, :contacts, :bytes, :recipients, :day)
    ON CONFLICT (client_id) DO UPDATE SET
        contacts = usages.contacts + :contacts,
        bytes = usages.bytes + :bytes,
        recipients = :recipients
            + CASE WHEN usages.day - :day BETWEEN 0 AND 1 THEN usages.recipients ELSE 0 END,
        day = CASE WHEN usages.day - :day = 1 THEN usages.day ELSE :day END
    RETURNING contacts, bytes, recipients,
        (SELECT limits FROM clients WHERE clients.id = usages.client_id) AS own
""").columns(own=JSON)


class LimitState(NamedTuple):
    """A limit, and how much of it is used."""

    limit: int
    used: int


@dataclass(slots=True)
class _Noted:
    """What a transaction stores for a client, and removes, and when."""

    now: int = 0
    amounts: Counter[Limit] = field(default_factory=Counter)

    @property
    def stored(self) -> dict[Limit, int]:
        """Return what it stores."""
        return {limit: amount for limit, amount in self.amounts.items() if amount > 0}

    @property
    def matters(self) -> bool:
        """Whether a sum changes, or something is stored."""
        return bool(self.stored) or any(self.amounts[limit] for limit in _SUMS)


def note(db: Db, client_id: str, *, now: int | None = None, **amounts: int) -> None:
    """Note what the transaction stores for a client, or removes, by the names of limits."""
    everyone: dict[str, _Noted] = db.info.setdefault(_NOTED, {})
    noted = everyone.setdefault(client_id, _Noted())
    noted.now = max(noted.now, now or 0)
    noted.amounts.update({Limit(name): amount for name, amount in amounts.items()})


def listeners(settings: Settings) -> dict[str, Callable[..., None]]:
    """Return what listens to all writing transactions, by SQLAlchemy's names of events."""

    def settle(db: Db) -> None:
        if db.in_nested_transaction():
            return
        db.flush()
        noted: dict[str, _Noted] = db.info.pop(_NOTED, {})
        for client_id in sorted(noted):
            if noted[client_id].matters:
                _add(db, client_id, noted[client_id], settings)

    return {"after_flush": _watch, "before_commit": settle}


def foresee(db: Db, client_id: str, settings: Settings, *, now: int, **amounts: int) -> None:
    """Raise LimitError if so much more would be refused now. Others may store something first."""
    own = db.scalar(select(Client.limits).where(Client.id == client_id))
    for name, amount in amounts.items():
        most = limits.one(settings, own, Limit(name))
        _compare(Limit(name), most, _used(db, client_id, Limit(name), now) + amount, amount, now)


def report(db: Db, client_id: str, settings: Settings, *, now: int) -> dict[Limit, LimitState]:
    """Return what is used of each limit but those on requests."""
    own = db.scalar(select(Client.limits).where(Client.id == client_id))
    return {
        limit: LimitState(limits.one(settings, own, limit), _used(db, client_id, limit, now))
        for limit in (*_SUMS, *_COUNTED)
    }


def size_of(contact: Mapping[str, Any]) -> int:
    """Return the bytes of a contact's columns."""
    texts = sum(len((contact[name] or "").encode()) for name in _TEXTS)
    return texts + sum(len(json.dumps(contact[name])) for name in _LISTS if contact[name])


def _watch(db: Db, _context: Any) -> None:
    """Note the rows that a flush has stored, changed and removed."""
    for rows, sign in ((db.new, 1), (db.deleted, -1)):
        for row in rows:
            limit = _ROWS.get(type(row))
            if limit and row.client_id and not _is_of_session(row):
                note(db, row.client_id, **{str(limit): sign, "bytes": sign * _bytes(row)})
    for row in db.dirty:
        if isinstance(row, Contact):
            note(db, row.client_id, bytes=_bytes(row) - size_of(_before(row)))


def _is_of_session(row: Any) -> bool:
    """Return whether a row is a session's token: its session counts."""
    return isinstance(row, Token) and row.session_id is not None


def _bytes(row: Any) -> int:
    if isinstance(row, Contact):
        return size_of({name: getattr(row, name) for name in (*_TEXTS, *_LISTS)})
    return row.size if isinstance(row, Attachment) else 0


def _before(contact: Contact) -> dict[str, Any]:
    """Return the columns of a contact as they were before its flush."""
    columns = inspect(contact).attrs
    changed = {name: columns[name].history.deleted for name in (*_TEXTS, *_LISTS)}
    return {name: old[0] if old else getattr(contact, name) for name, old in changed.items()}


def _add(db: Db, client_id: str, noted: _Noted, settings: Settings) -> None:
    """Add up what is stored, and compare it with the limits; raises LimitError."""
    now = noted.now or now_ms()
    # These are no objects, and without the session's bookkeeping they take half of the time.
    connection = db.connection()
    sums: dict[str, Any] = {limit: noted.amounts[limit] for limit in _SUMS}
    row = connection.execute(_ADD, sums | {"client_id": client_id, "day": now // DAY}).one()
    for limit, amount in noted.stored.items():
        most = limits.one(settings, row.own, limit)
        used = getattr(row, limit) if limit in _SUMS else _count(connection, client_id, limit, now)
        _compare(limit, most, used, amount, now)


def _compare(limit: Limit, most: int, used: int, amount: int, now: int) -> None:
    """Raise LimitError if more than `most` is used, of which `amount` is new."""
    if used > most:
        raise refusals.of(limit, most, used - amount, amount, now=now)


def _used(db: Db, client_id: str, limit: Limit, now: int) -> int:
    if limit not in _SUMS:
        return _count(db.connection(), client_id, limit, now)
    usage = db.get(Usage, client_id)
    if usage is None or (limit == Limit.RECIPIENTS and usage.day < now // DAY):
        return 0
    used: int = getattr(usage, limit)
    return used


def _count(connection: Connection, client_id: str, limit: Limit, now: int) -> int:
    values = {"client_id": client_id, "now": now}
    return sum(connection.execute(query, values).scalar_one() for query in _COUNTED[limit])


_CLIENT: Final[BindParameter[str]] = bindparam("client_id")


def _counts(table: Any, *conditions: ColumnElement[bool]) -> Select[int]:
    """Return a query for the number of a client's rows in a table."""
    mine = conditions or (table.client_id == _CLIENT,)
    return select(func.count()).select_from(table).where(*mine)


_SESSIONS: Final = select(Session.id).where(Session.client_id == _CLIENT)
_SANDBOXES: Final = _SESSIONS.where(Session.channel == Sandbox.name)
_OPEN: Final = and_(Broadcast.closed_at.is_(None), Broadcast.parent_id.is_(None))
_VALID: Final = and_(
    Token.session_id.is_(None),
    Token.revoked_at.is_(None),
    or_(Token.expires_at.is_(None), Token.expires_at > bindparam("now")),
)

_COUNTED: Final[Mapping[Limit, Sequence[Select[int]]]] = {
    Limit.BROADCASTS: [_counts(Broadcast).where(_OPEN)],
    Limit.SESSIONS: [_counts(Session)],
    Limit.GROUPS: [_counts(Group)],
    Limit.MEMBERS: [_counts(GroupMember, rosters.in_force(), Group.client_id == _CLIENT)],
    Limit.ATTACHMENTS: [_counts(Attachment)],
    Limit.CALLBACKS: [_counts(Callback)],
    Limit.TOKENS: [_counts(Token).where(_VALID)],
    Limit.OPT_OUTS: [_counts(OptOut, OptOut.session_id.in_(_SESSIONS)), _counts(ClientOptOut)],
    Limit.SANDBOX_REPLIES: [_counts(Reply, Reply.session_id.in_(_SANDBOXES))],
}
"""Queries that count what is not added up."""
