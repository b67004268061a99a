"""Routes of broadcasts and their deliveries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Session as Db

from service.blueprints import broadcast_requests, deliveries, intake, lists
from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, named_session, within
from service.blueprints.requests import ListForm, request
from service.core import (
    broadcasts,
    edits,
    heads,
    personalisation,
    previews,
    reports,
    sessions,
)
from service.core.broadcast_requests import BroadcastRequest
from service.core.intake import Accepted
from service.core.numbering import Numbering
from service.core.paging import Page
from service.core.previews import Preview
from service.core.reports import Arrays
from service.core.tokens import Scope
from service.database import now_ms
from service.dispatch.upkeep import listing
from service.errors import ConflictError, ServiceError
from service.models import Broadcast, DeliveryStatus, OnInvalid
from service.schemas.base import Shown
from service.schemas.broadcasts import (
    BroadcastChangeSchema,
    BroadcastFormSchema,
    BroadcastRequestSchema,
    BroadcastSchema,
    IdempotencySchema,
    RetriedSchema,
    RetrySchema,
)
from service.schemas.deliveries import DeliverySchema
from service.schemas.pages import BroadcastPageSchema, DeletedSchema, DeliveryPageSchema
from service.schemas.previews import DryRunSchema, PreviewSchema

blueprint = Blueprint("broadcasts", __name__, description="One message to many people")


@blueprint.post("/broadcast", "createBroadcast")
@blueprint.takes_list(ListForm("broadcast", "recipients"), BroadcastFormSchema)
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.takes(BroadcastRequestSchema)
@blueprint.takes_headers(IdempotencySchema)
@blueprint.takes_query(DryRunSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(201, BroadcastSchema, "Broadcast group created successfully!")
@blueprint.may_answer(Preview, 200, PreviewSchema, "Broadcast previewed successfully!")
def create(body: dict[str, Any], headers: dict[str, Any], query: dict[str, Any]) -> Shown | Preview:
    """Send a message to many people.

    The answer comes at once. Sending starts right after it, or at `send_at`. If anything is wrong
    with the request, nothing is stored, and the error names every bad recipient and its position.
    Recipients may come as a file, in a form with the parts `broadcast` and `recipients`.
    """
    asked = broadcast_requests.read(request.document, body, headers.get("key"))
    _know_templates(asked)
    if query["dry_run"]:
        return _preview(asked)
    return intake.accept(asked, _accepted)


@blueprint.get("/broadcast", "listBroadcasts")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(BroadcastPageSchema)
@blueprint.answers(200, BroadcastSchema, "Broadcast fetched successfully!", many=True)
def index(query: dict[str, Any]) -> Page[Shown]:
    """Fetch all broadcasts, oldest first.

    A list shows the beginning of long recipients and messages. Fetch one broadcast to see all.
    """
    wanted = {"within": within(), "deleted": query["deleted"]}
    with crier().database.reading() as db:
        found = broadcasts.page(db, caller().client_id, query["page"], **wanted)
        arrays = reports.arrays(db, found.items)
        head = heads.read(db, [broadcast.id for broadcast in found.items])
    return found.map(lambda each: Shown(_shown(each, arrays[each.id]), **head[each.id]._asdict()))


@blueprint.get("/broadcast/<id:broadcast_id>", "getBroadcast")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.takes_query(DeletedSchema)
@blueprint.answers(200, BroadcastSchema, "Broadcast fetched successfully!")
def show(deleted: bool, broadcast_id: str) -> Shown:  # noqa: FBT001 - given by its schema
    """Fetch one broadcast and its progress.

    With `deleted=true`, fetch a deleted one, until the operator purges it.
    """
    with crier().database.reading() as db:
        broadcast = broadcasts.get(
            db, caller().client_id, broadcast_id, within=within(), deleted=deleted
        )
        return _shown(broadcast, reports.arrays_of(db, broadcast))


@blueprint.put("/broadcast/<id:broadcast_id>", "updateBroadcast")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.takes(BroadcastChangeSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(200, BroadcastSchema, "Broadcast updated successfully!")
def update(body: dict[str, Any], broadcast_id: str) -> Shown:
    """Change the message, recipients or times of a broadcast. Omitted fields stay.

    This is possible while it is scheduled, or paused before anybody got it. A paused broadcast
    stays paused, unless you give it a `send_at` in the future.
    """
    lists.refuse_columns(body)
    changes = {**body, "session_id": named_session()}
    if "message" in body:
        changes["message"] = request.document["message"]
    if "fallback" in request.document:  # an empty one removes the steps
        changes["fallback"] = broadcast_requests.fallback(body, request.document)
    with crier().database.reading() as db:
        broadcast = broadcasts.get(db, caller().client_id, broadcast_id, within=within())
    most, now = crier().settings.max_recipients, now_ms()
    order = edits.merge(broadcast, changes, most=most, within=within(), now=now)
    with crier().database.reading() as db:
        planned = edits.plan(db, broadcast, order, accounts=crier().accounts, now=now)
    stored: Any = {"planned": planned, "chunk": crier().settings.fanout_chunk, "now": now}
    with crier().database.writing() as db:
        broadcast = edits.replace(db, broadcast, order, changes, **stored)
        return _shown(broadcast, reports.arrays_of(db, broadcast))


@blueprint.delete("/broadcast/<id:broadcast_id>", "deleteBroadcast")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.raises(ConflictError)
@blueprint.answers(200, BroadcastSchema, "Broadcast deleted successfully!")
def delete(broadcast_id: str) -> Shown:
    """Delete a broadcast. Deliveries that are not sent yet are cancelled."""
    return _changed(broadcasts.delete, broadcast_id)


@blueprint.post("/broadcast/<id:broadcast_id>/pause", "pauseBroadcast")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.raises(ConflictError)
@blueprint.answers(200, BroadcastSchema, "Broadcast paused successfully!")
def pause(broadcast_id: str) -> Shown:
    """Pause a broadcast: send nothing more until it is resumed."""
    return _changed(broadcasts.pause, broadcast_id)


@blueprint.post("/broadcast/<id:broadcast_id>/resume", "resumeBroadcast")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.raises(ConflictError)
@blueprint.answers(200, BroadcastSchema, "Broadcast resumed successfully!")
def resume(broadcast_id: str) -> Shown:
    """Resume a paused broadcast."""
    return _changed(broadcasts.resume, broadcast_id)


@blueprint.post("/broadcast/<id:broadcast_id>/retry", "retryBroadcast")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.takes(RetrySchema, required=False)
@blueprint.raises(ConflictError)
@blueprint.answers(200, RetriedSchema, "Broadcast retried successfully!")
def retry(body: dict[str, Any], broadcast_id: str) -> Shown:
    """Send failed deliveries again, uncertain ones, or both; except to people who opted out.

    With `codes`, send only those that ended with one of these codes; the report of a broadcast
    lists its codes. With the `session_id` of another session, that session sends them, as one more
    way. `left_out` counts the deliveries that are not sent again.
    """
    with crier().database.writing_much() as db:
        retried = broadcasts.retry(
            db,
            caller().client_id,
            broadcast_id,
            [DeliveryStatus(status) for status in dict.fromkeys(body["statuses"])],
            codes=body["codes"],
            session_id=named_session(),
            expires_at=body.get("expires_at"),
            accounts=crier().accounts,
            now=now_ms(),
            within=within(),
        )
        shown = _shown(retried.broadcast, reports.arrays_of(db, retried.broadcast))
        return Shown(shown, left_out=retried.left_out)


@blueprint.get("/broadcast/<id:broadcast_id>/delivery", "listBroadcastDeliveries")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(DeliveryPageSchema)
@blueprint.answers(200, DeliverySchema, "Delivery fetched successfully!", many=True)
def index_deliveries(query: dict[str, Any], broadcast_id: str) -> Page[Shown]:
    """Fetch the delivery to each recipient, in the order of `to`."""
    with crier().database.reading() as db:
        broadcast = broadcasts.get(
            db, caller().client_id, broadcast_id, within=within(), deleted=query["deleted"]
        )
        page = reports.page(db, broadcast, deliveries.narrowed(query, broadcast), query["page"])
    return page.map(deliveries.shown)


def _changed(change: Callable[..., Broadcast], broadcast_id: str) -> Shown:
    """Change a broadcast of the caller, and return it as answers show it."""
    with crier().database.writing() as db:
        broadcast = change(db, caller().client_id, broadcast_id, now=now_ms(), within=within())
        return _shown(broadcast, reports.arrays_of(db, broadcast))


def _know_templates(asked: BroadcastRequest) -> None:
    """Refresh the list of templates if the message uses one; ignore a provider that fails."""
    if not asked.message.get("template"):
        return
    parts = crier()
    with suppress(ServiceError):
        with parts.database.reading() as db:
            session = sessions.choose(db, caller().client_id, asked.session_id)
        listing.refresh(parts.accounts, parts.database, session)


def _preview(asked: BroadcastRequest) -> Preview:
    with crier().database.reading() as db:
        return previews.make(db, caller().client_id, asked, accounts=crier().accounts, now=now_ms())


def _accepted(db: Db, accepted: Accepted) -> Shown:
    arrays = reports.arrays_of_new if accepted.is_new else reports.arrays_of
    return _shown(accepted.broadcast, arrays(db, accepted.broadcast))


def _shown(broadcast: Broadcast, arrays: Arrays) -> Shown:
    return Shown(
        broadcast,
        sent=arrays.sent,
        pending=arrays.pending,
        failed=arrays.failed,
        counts=reports.counts(broadcast),
        reason=arrays.held or broadcast.reason,
        message_truncated=False,
        fallback=broadcast.fallback or [],
        ways=arrays.ways,
        **_personal(broadcast),
        **_numbering(broadcast),
    )


def _numbering(broadcast: Broadcast) -> dict[str, Any]:
    meant = Numbering.restore(broadcast.numbering)
    return {
        "countries": broadcast.countries or {},
        "default_region": meant.default_region or None,
        "regions": meant.regions,
        "on_invalid": (broadcast.numbering or {}).get("on_invalid") or OnInvalid.REJECT,
    }


def _personal(broadcast: Broadcast) -> dict[str, Any]:
    personal = personalisation.restore(broadcast.personalisation)
    return {
        "personalise": personal is not None,
        "syntax": personal and personal.syntax,
        "variables": personal.common if personal else {},
    }
