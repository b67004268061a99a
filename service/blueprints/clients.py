"""The route of the client: its limits and how much of each is used."""

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

    `requests` is a limit per second, `burst` one on requests at once, and `recipients` one per UTC
    day.
    """
    with crier().database.reading() as db:
        client = db.get_one(Client, caller().client_id)
    return Shown(client, limits={name: state._asdict() for name, state in states().items()})


def states() -> dict[str, LimitState]:
    """Return all limits of the caller by name, each with how much of it is used."""
    parts = crier()
    with parts.database.reading() as db:
        stored = usages.report(db, caller().client_id, parts.settings, now=now_ms())
    return {str(limit): state for limit, state in (limiting.states(caller()) | stored).items()}
