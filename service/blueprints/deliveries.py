"""Routes of deliveries across broadcasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.blueprints.api import GUIDE, Blueprint
from service.blueprints.context import caller, crier, searched, within
from service.core import delivery_log, entries, heads, histories, variables, ways
from service.core.deliveries import progress
from service.core.delivery_log import DeliveryScope, Entry
from service.core.paging import Page
from service.core.reports import Filter
from service.core.tokens import Scope
from service.core.ways import Taken
from service.models import Broadcast, Delivery, DeliveryStatus
from service.schemas.base import Shown
from service.schemas.deliveries import LoggedDeliverySchema
from service.schemas.pages import DeletedSchema, LogPageSchema
from service.schemas.reports import DeliveryHistorySchema

blueprint = Blueprint("deliveries", __name__, description="What was sent to whom")


@blueprint.get("/delivery", "listDeliveries")
@blueprint.get("/message-log", "listMessageLog", tags=GUIDE)
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(LogPageSchema)
@blueprint.answers(200, LoggedDeliverySchema, "Delivery fetched successfully!", many=True)
def index(query: dict[str, Any]) -> Page[Shown]:
    """Fetch the deliveries of all broadcasts, newest first.

    With `recipient`, fetch only those to one person or WhatsApp group.
    """
    scope = DeliveryScope(caller().client_id, within(), query["deleted"])
    page, recipients = query["page"], searched(query["recipient"])
    with crier().database.reading() as db:
        if not recipients:
            return delivery_log.page(db, scope, page).map(_listed)
        return delivery_log.to_recipients(db, scope, recipients, page).map(_listed)


@blueprint.get("/delivery/<id:delivery_id>", "getDelivery")
@blueprint.get("/message-log/<id:delivery_id>", "getMessageLog", tags=GUIDE)
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.takes_query(DeletedSchema)
@blueprint.answers(200, DeliveryHistorySchema, "Delivery fetched successfully!")
def show(deleted: bool, delivery_id: str) -> Shown:  # noqa: FBT001 - given by its schema
    """Fetch one delivery and its history: attempts, answers, receipts and retries.

    The history keeps 50 attempts and receipts that failed or were superseded.
    """
    with crier().database.reading() as db:
        scope = DeliveryScope(caller().client_id, within(), deleted)
        entry = delivery_log.get(db, scope, delivery_id)
        taken = ways.taken(db, entry.broadcast, entry.delivery)
        history = histories.read(db, entry, taken)
        return Shown(_shown(entry), history=history, ways=[*map(_way, taken)])


def narrowed(query: Mapping[str, Any], broadcast: Broadcast) -> Filter:
    """Return the filter of a query, with recipients in the form that `to` has."""
    numbering = caller().numbering.merged(broadcast.numbering or {})
    wanted: Filter = query["filter"]
    return wanted._replace(recipients=entries.searched(query["recipient"], numbering))


def shown(delivery: Delivery) -> Shown:
    """Return a delivery with the computed fields of its answer."""
    waits = delivery.status == DeliveryStatus.QUEUED
    return Shown(
        delivery,
        message_ids=progress.taken(delivery.message_ids),
        next_attempt_at=delivery.due_at if waits else None,
        variables=variables.load(delivery.variables),
    )


def _way(way: Taken) -> Shown:
    return Shown(shown(way.delivery), step=way.step, session_id=way.session_id)


def _shown(entry: Entry) -> Shown:
    broadcast = entry.broadcast
    return Shown(
        shown(entry.delivery),
        client_id=broadcast.client_id,
        session_id=broadcast.session_id,
        message=broadcast.message,
        message_truncated=False,
        created_at=broadcast.created_at,
    )


def _listed(entry: Entry) -> Shown:
    """Return a delivery as lists show it: a long message is cut."""
    message = heads.of_message(entry.broadcast.message)
    is_cut = message != entry.broadcast.message
    return Shown(_shown(entry), message=message, message_truncated=is_cut)
