"""Clients: the tenants, made and listed by the operator alone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import ConflictError, InvalidError, NowhereError
from service.models import Client


def create(db: Session, name: str) -> Client:
    """Create a client; raises ConflictError when the name is taken, InvalidError when empty."""
    name = name.strip()
    if not name:
        raise InvalidError(errors={"name": ["A client needs a name."]})
    if find(db, name) is not None:
        sentence = f"There is a client named {name!r} already."
        raise ConflictError(sentence, errors={"name": [sentence]})
    client = Client(name=name)
    db.add(client)
    db.flush()
    return client


def find(db: Session, name: str) -> Client | None:
    """Return the client of that name, if there is one."""
    return db.scalar(select(Client).where(Client.name == name))


def get(db: Session, name: str) -> Client:
    """Return the client of that name; raises NowhereError."""
    client = find(db, name)
    if client is None:
        noun = "client"
        raise NowhereError(noun, name)
    return client


def every(db: Session) -> Sequence[Client]:
    """Return all clients, the oldest first."""
    return db.scalars(select(Client).order_by(Client.id)).all()
