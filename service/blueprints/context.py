"""What a view works with: the parts of the service, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app, g, request

from service.config import Settings
from service.core.accounts import Accounts
from service.core.storage import Storage
from service.core.tokens import Caller
from service.core.vault import Vault
from service.database import Database
from service.dispatch.dispatcher import Dispatcher
from service.errors import NotFoundError

EXTENSION = "crier"


@dataclass(frozen=True, slots=True)
class Crier:
    """The parts of one process of the service."""

    settings: Settings
    database: Database
    storage: Storage
    vault: Vault
    accounts: Accounts
    dispatcher: Dispatcher


def crier() -> Crier:
    """Return the parts of the service that answers the present request."""
    return cast("Crier", current_app.extensions[EXTENSION])


def caller() -> Caller:
    """Return who sent the present request; only where a route asks for a scope."""
    return cast("Caller", g.caller)


def known_caller() -> Caller | None:
    """Return who sent the present request, None while nobody has been recognised."""
    return cast("Caller | None", g.get("caller"))


def named_session() -> str:
    """Return the id of the session that the present request names; empty: the default one."""
    return cast("str", g.session_id)


def within() -> str | None:
    """Return the id of the only session whose objects this request reaches; None: all of them."""
    return cast("str | None", g.within)


def reachable(session_id: str) -> str:
    """Return the session's id of a path; raises NotFoundError if the request does not reach it."""
    if within() not in {None, session_id}:
        raise NotFoundError("session", session_id)
    return session_id


def address(path: str) -> str:
    """Return the address under which clients and providers reach a path of this service."""
    base = crier().settings.public_url or request.root_url
    return f"{base.rstrip('/')}/{path.lstrip('/')}"
