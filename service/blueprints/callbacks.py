"""Routes of callbacks: URLs to which events are posted."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier
from service.core import callbacks
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.database import now_ms
from service.errors import ConflictError
from service.models import Callback, CallbackEvent
from service.schemas.base import Shown
from service.schemas.callbacks import (
    CallbackChangeSchema,
    CallbackEventSchema,
    CallbackSchema,
    EventPageSchema,
    NewCallbackSchema,
    NewlyMadeCallbackSchema,
    WholeCallbackEventSchema,
)

blueprint = Blueprint("callbacks", __name__, description="Where you are told what happens")


@blueprint.post("/callback", "createCallback")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(NewCallbackSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(201, NewlyMadeCallbackSchema, "Callback created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Create a callback: events are posted to your URL, signed as Standard Webhooks describes.

    The `secret` verifies the signatures. It is shown only this once. Events that happen more than
    two seconds after this answer are posted.
    """
    callbacks.check_address(body["url"], crier().settings)
    with crier().database.writing() as db:
        callback, secret = callbacks.create(db, caller().client_id, body, vault=crier().vault)
        return Shown(callback, secret=secret)


@blueprint.post("/callback/<id:callback_id>/secret", "createCallbackSecret")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(201, NewlyMadeCallbackSchema, "Callback secret created successfully!")
def create_secret(callback_id: str) -> Shown:
    """Replace the secret of a callback; from now on the new one signs."""
    with crier().database.writing() as db:
        callback, secret = callbacks.renew_secret(
            db, caller().client_id, callback_id, vault=crier().vault
        )
        return Shown(callback, secret=secret)


@blueprint.get("/callback", "listCallbacks")
@blueprint.scope(Scope.ADMIN)
@blueprint.pages()
@blueprint.answers(200, CallbackSchema, "Callback fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Callback]:
    """Fetch all callbacks, oldest first."""
    with crier().database.reading() as db:
        return callbacks.page(db, caller().client_id, page)


@blueprint.get("/callback/<id:callback_id>", "getCallback")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, CallbackSchema, "Callback fetched successfully!")
def show(callback_id: str) -> Callback:
    """Fetch one callback, and whether it fails or is paused."""
    with crier().database.reading() as db:
        return callbacks.get(db, caller().client_id, callback_id)


@blueprint.put("/callback/<id:callback_id>", "updateCallback")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(CallbackChangeSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(200, CallbackSchema, "Callback updated successfully!")
def update(body: dict[str, Any], callback_id: str) -> Callback:
    """Change, pause or resume a callback. Omitted fields stay."""
    if "url" in body:
        callbacks.check_address(body["url"], crier().settings)
    with crier().database.writing() as db:
        return callbacks.update(db, caller().client_id, callback_id, body)


@blueprint.delete("/callback/<id:callback_id>", "deleteCallback")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, CallbackSchema, "Callback deleted successfully!")
def delete(callback_id: str) -> Callback:
    """Delete a callback and its events."""
    with crier().database.writing() as db:
        return callbacks.delete(db, caller().client_id, callback_id)


@blueprint.get("/callback/<id:callback_id>/event", "listCallbackEvents")
@blueprint.scope(Scope.ADMIN)
@blueprint.pages(EventPageSchema)
@blueprint.answers(200, CallbackEventSchema, "Event fetched successfully!", many=True)
def index_events(query: dict[str, Any], callback_id: str) -> Page[CallbackEvent]:
    """Fetch the events of a callback from the last seven days, posted and waiting, newest first."""
    with crier().database.reading() as db:
        return callbacks.page_of_events(
            db, caller().client_id, callback_id, query["status"], query["page"]
        )


@blueprint.get("/callback/<id:callback_id>/event/<id:event_id>", "getCallbackEvent")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, WholeCallbackEventSchema, "Event fetched successfully!")
def show_event(callback_id: str, event_id: str) -> CallbackEvent:
    """Fetch one event with the `body` that is posted."""
    with crier().database.reading() as db:
        return callbacks.get_event(db, caller().client_id, callback_id, event_id)


@blueprint.post("/callback/<id:callback_id>/event/<id:event_id>/resend", "resendCallbackEvent")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, CallbackEventSchema, "Event queued successfully!")
def resend(callback_id: str, event_id: str) -> CallbackEvent:
    """Post an event once more, under its own id, before later ones of its broadcast or session."""
    with crier().database.writing() as db:
        return callbacks.resend(db, caller().client_id, callback_id, event_id, now=now_ms())
