"""Routes about deliveries across broadcasts."""

from __future__ import annotations

from service.blueprints.api import GUIDE, Blueprint
from service.blueprints.context import caller, crier, within
from service.core import delivery_log, variables
from service.core.deliveries import progress
from service.core.delivery_log import Entry
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.models import Delivery, DeliveryStatus
from service.schemas.base import Shown
from service.schemas.broadcasts import LoggedDeliverySchema
from service.schemas.pages import LogPageSchema

blueprint = Blueprint("deliveries", __name__, description="What was sent to whom")


@blueprint.get("/delivery", "listDeliveries")
@blueprint.get("/message-log", "listMessageLog", tags=GUIDE)
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(LogPageSchema)
@blueprint.answers(200, LoggedDeliverySchema, "Delivery fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch what was sent to whom, across broadcasts, the newest first."""
    with crier().database.reading() as db:
        return delivery_log.page(db, caller().client_id, page, within=within()).map(_shown)


@blueprint.get("/delivery/<id:delivery_id>", "getDelivery")
@blueprint.get("/message-log/<id:delivery_id>", "getMessageLog", tags=GUIDE)
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.answers(200, LoggedDeliverySchema, "Delivery fetched successfully!")
def show(delivery_id: str) -> Shown:
    """Fetch one delivery."""
    with crier().database.reading() as db:
        return _shown(delivery_log.get(db, caller().client_id, delivery_id, within=within()))


def shown(delivery: Delivery) -> Shown:
    """Return a delivery with what is worked out for its answer."""
    waits = delivery.status == DeliveryStatus.QUEUED
    return Shown(
        delivery,
        message_ids=progress.taken(delivery.message_ids),
        next_attempt_at=delivery.due_at if waits else None,
        variables=variables.load(delivery.variables),
    )


def _shown(entry: Entry) -> Shown:
    broadcast = entry.broadcast
    return Shown(
        shown(entry.delivery),
        client_id=broadcast.client_id,
        session_id=broadcast.session_id,
        message=broadcast.message,
        created_at=broadcast.created_at,
    )
