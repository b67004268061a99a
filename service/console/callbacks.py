"""Callbacks: the URLs of the client's programs to which events are posted."""

from __future__ import annotations

from flask import Response, render_template

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms, listing, notices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.core import callbacks
from service.core.paging import LARGEST_SIZE, PageRequest
from service.core.tokens import Scope
from service.database import now_ms
from service.models import EventType
from service.schemas.callbacks import NewCallbackSchema

blueprint = Section("callbacks", __name__)


@blueprint.page("/callbacks", Scope.ADMIN)
def index() -> str:
    """Show the callbacks, and whether they fail."""
    return _page()


@blueprint.action("/callbacks", "callback.create", Scope.ADMIN)
def create() -> str:
    """Store a callback, and show its secret this once."""
    given = {"url": forms.text("url"), "events": request.form.getlist("event")}
    fields = forms.check(NewCallbackSchema, given)
    callbacks.check_address(fields["url"], crier().settings)
    with crier().database.writing() as db:
        _callback, secret = callbacks.create(db, visitor().client_id, fields, vault=crier().vault)
    return _page(secret)


@blueprint.page("/callbacks/<id:callback_id>", Scope.ADMIN)
def show(callback_id: str) -> str:
    """Show the events of a callback and their results."""
    with crier().database.reading() as db:
        callback = callbacks.get(db, visitor().client_id, callback_id)
        page = callbacks.page_of_events(
            db, visitor().client_id, callback_id, None, listing.wanted()
        )
    return render_template("console/callback.html", callback=callback, page=page)


@blueprint.action("/callbacks/<id:callback_id>/pause", "callback.update", Scope.ADMIN)
def pause(callback_id: str) -> Response:
    """Pause a callback, or let it go on."""
    is_paused = forms.text("paused") == "yes"
    with crier().database.writing() as db:
        callbacks.update(db, visitor().client_id, callback_id, {"paused": is_paused})
    notices.give(_("Callback paused.") if is_paused else _("Callback resumed."))
    return _to(callback_id)


@blueprint.action("/callbacks/<id:callback_id>/delete", "callback.delete", Scope.ADMIN)
def delete(callback_id: str) -> Response:
    """Delete a callback and its events."""
    with crier().database.writing() as db:
        callbacks.delete(db, visitor().client_id, callback_id)
    notices.give(_("Callback deleted."))
    return to_page("callbacks.index")


@blueprint.action(
    "/callbacks/<id:callback_id>/events/<id:event_id>/resend", "callback_event.resend", Scope.ADMIN
)
def resend(callback_id: str, event_id: str) -> Response:
    """Post an event once more."""
    with crier().database.writing() as db:
        callbacks.resend(db, visitor().client_id, callback_id, event_id, now=now_ms())
    notices.give(_("The event will be posted again."))
    return _to(callback_id)


def _page(secret: str = "") -> str:
    with crier().database.reading() as db:
        mine = callbacks.page(db, visitor().client_id, PageRequest(1, LARGEST_SIZE)).items
    return render_template(
        "console/callbacks.html", callbacks=mine, secret=secret, types=[*EventType]
    )


def _to(callback_id: str) -> Response:
    return to_page("callbacks.show", callback_id=callback_id)
