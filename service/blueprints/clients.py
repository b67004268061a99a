"""The route of the client itself: its limits, and what it has used of them."""

from __future__ import annotations

from service.blueprints import limiting
from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier
from service.core import usages
from service.core.tokens import Scope
from service.core.usages import LimitState
from service.database import now_ms
from service.models import Client
from service.schemas.base import Shown
from service.schemas.clients import ClientSchema

blueprint = Blueprint("client", __name__, description="Your limits")


@blueprint.get("/client", "getClient")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, ClientSchema, "Client fetched successfully!")
def show() -> Shown:
    """Fetch your limits, and how much of each is used now.

    The limit `requests` is per second, `burst` at once, and `recipients` per day in UTC.
    """
    with crier().database.reading() as db:
        client = db.get_one(Client, caller().client_id)
    return Shown(client, limits={name: state._asdict() for name, state in states().items()})


def states() -> dict[str, LimitState]:
    """Return all limits of the caller and what is used of each, by their names."""
    parts = crier()
    with parts.database.reading() as db:
        stored = usages.report(db, caller().client_id, parts.settings, now=now_ms())
    return {str(limit): state for limit, state in (limiting.states(caller()) | stored).items()}
