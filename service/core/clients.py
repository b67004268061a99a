"""Clients: the tenants. Only the operator creates, lists and disables them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Update, case, select, update
from sqlalchemy.orm import Session as Db

from service.core.limits import Limit
from service.core.numbering import Numbering, is_region
from service.errors import ConflictError, InvalidError, NowhereError
from service.models import Broadcast, BroadcastStatus, Client

DISABLED = "The operator has disabled this client."
"""The reason of broadcasts that `disable` paused."""


def create(db: Db, name: str) -> Client:
    """Create a client; raises ConflictError if the name is taken, InvalidError if empty."""
    name = name.strip()
    if not name:
        raise InvalidError(errors={"name": ["A client needs a name."]})
    if find(db, name) is not None:
        sentence = f"A client named {name!r} already exists."
        raise ConflictError(sentence, errors={"name": [sentence]})
    client = Client(name=name)
    db.add(client)
    db.flush()
    return client


def find(db: Db, name: str) -> Client | None:
    """Return the client with this name, if it exists."""
    return db.scalar(select(Client).where(Client.name == name))


def get(db: Db, name: str) -> Client:
    """Return the client with this name; raises NowhereError."""
    client = find(db, name)
    if client is None:
        noun = "client"
        raise NowhereError(noun, name)
    return client


def every(db: Db) -> Sequence[Client]:
    """Return all clients, oldest first."""
    return db.scalars(select(Client).order_by(Client.id)).all()


def mean(db: Db, name: str, default_region: str, regions: Sequence[str]) -> Numbering:
    """Set how to read a client's numbers if its requests do not say so.

    Raises NowhereError, and InvalidError for an unknown region.
    """
    client = get(db, name)
    meant = Numbering(default_region.upper(), tuple(region.upper() for region in regions))
    unknown = [each for each in (default_region, *regions) if each and not is_region(each.upper())]
    if unknown:
        reason = f"{unknown[0]!r} is no country. Give a code such as NG, DE or US."
        raise InvalidError(reason, errors={"region": [reason]})
    client.numbering = meant.stored()
    db.flush()
    return meant


def limit(db: Db, name: str, changes: Mapping[Limit, int | None]) -> Client:
    """Give a client its own limits; None restores the limit of the settings.

    Raises NowhereError.
    """
    client = get(db, name)
    own = dict(client.limits or {})
    for each, most in changes.items():
        own.pop(each, None)
        if most is not None:
            own[each] = most
    client.limits = own or None
    db.flush()
    return client


def is_enabled(db: Db, client_id: str) -> bool:
    """Return whether the operator has not disabled a client."""
    return db.scalar(select(Client.disabled_at).where(Client.id == client_id)) is None


def disable(db: Db, name: str, *, now: int) -> int:
    """Refuse a client's tokens and pause its broadcasts; return how many were paused.

    Raises NowhereError.
    """
    client = get(db, name)
    client.disabled_at = client.disabled_at or now
    db.flush()
    waiting = Broadcast.status.in_([BroadcastStatus.SCHEDULED, BroadcastStatus.SENDING])
    going = update(Broadcast).where(
        Broadcast.client_id == client.id, waiting, Broadcast.closed_at.is_(None)
    )
    paused = going.values(status=BroadcastStatus.PAUSED, reason=DISABLED)
    return _count(db, paused, now)


def enable(db: Db, name: str, *, now: int) -> int:
    """Undo `disable`; return how many broadcasts continue. Raises NowhereError."""
    client = get(db, name)
    client.disabled_at = None
    db.flush()
    held = update(Broadcast).where(
        Broadcast.client_id == client.id,
        Broadcast.status == BroadcastStatus.PAUSED,
        Broadcast.reason == DISABLED,
    )
    status = case(
        (Broadcast.send_at > now, BroadcastStatus.SCHEDULED), else_=BroadcastStatus.SENDING
    )
    return _count(db, held.values(status=status, reason=None), now)


def _count(db: Db, change: Update, now: int) -> int:
    """Execute an update of broadcasts; return how many rows it changed."""
    values = {"updated_at": now, "version": Broadcast.version + 1}
    changed = change.values(**values).returning(Broadcast.id)
    return len(db.execute(changed, execution_options={"synchronize_session": False}).all())
