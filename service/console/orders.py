"""Orders: turns the form of a new broadcast into a body of `POST /broadcast`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from flask import g
from sqlalchemy.orm import Session as Db

from service.blueprints import broadcast_requests
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import fallbacks, formats, forms, hours, templates
from service.console.access import visitor
from service.console.language import gettext as _
from service.core import previews
from service.core.broadcast_requests import BroadcastRequest
from service.database import now_ms
from service.errors import InvalidError
from service.models import SendType
from service.schemas.broadcasts import BroadcastRequestSchema

AUDIENCES: Final = ("numbers", "list", "groups", "broadcast")
"""Where the recipients of the form come from."""

_PLACE = ("name", "lat", "lng")


def document() -> dict[str, Any]:
    """Return the body that the form stands for; raises InvalidError for an unreadable moment."""
    audience = forms.text("audience")
    written = {
        "send_type": str(SendType.GROUP if audience == "groups" else SendType.INDIVIDUAL),
        **_recipients(audience),
        "message": _message(),
        "personalise": bool(forms.text("personalise")),
        "send_at": _send_at(),
        "session_id": forms.text("session_id"),
        "sample": forms.number("sample", int),
        "fallback": fallbacks.steps(),
        "window": hours.given(),
    }
    return {name: value for name, value in written.items() if value not in (None, "", False, [])}


def order(document: dict[str, Any], key: str = "") -> BroadcastRequest:
    """Return the request in a document; raises InvalidError with every fault of its form.

    `key` makes a repeated request harmless.
    """
    if not document.get("to") and "audience" not in document:
        raise InvalidError(errors={"to": [_("Enter at least one recipient.")]})
    body = forms.check(BroadcastRequestSchema, document)
    g.session_id = document.get("session_id", "")
    return broadcast_requests.read(document, body, key)


def without_invalid(db: Db, asked: BroadcastRequest) -> BroadcastRequest:
    """Return an order without the recipients that it cannot be sent to, where the form says so."""
    if not forms.text("skip"):
        return asked
    preview = previews.make(db, visitor().client_id, asked, accounts=crier().accounts, now=now_ms())
    return replace(asked, people=asked.people.without({each.position for each in preview.invalid}))


def _recipients(audience: str) -> dict[str, Any]:
    if audience == "groups":
        return {"to": request.form.getlist("group")}
    if audience == "list":
        return {"to": forms.document("list", []), **_region()}
    if audience == "broadcast":
        return {"audience": _audience()}
    return {"to": request.form.get("to", ""), **_region()}


def _region() -> dict[str, Any]:
    return {"default_region": forms.text("default_region")}


def _audience() -> dict[str, Any]:
    replied = {"yes": True, "no": False}.get(forms.text("replied"))
    wanted = {
        "broadcast": forms.text("broadcast"),
        "statuses": request.form.getlist("statuses"),
        "replied": replied,
    }
    return {name: value for name, value in wanted.items() if value not in (None, "", [])}


def _message() -> dict[str, Any]:
    place = {name: forms.text(f"location.{name}") for name in _PLACE}
    message = {
        "text": request.form.get("text", "").replace("\r\n", "\n"),
        "attachments": request.form.getlist("attachment"),
        "location": place if place["lat"] or place["lng"] else {},
        "template": templates.message(request.form),
        "contactId": forms.text("contact"),
    }
    return {name: value for name, value in message.items() if value}


def _send_at() -> str | None:
    given = forms.text("send_at")
    if forms.text("when") != "later" or not given:
        return None
    try:
        return formats.read_local(given).isoformat()
    except ValueError as error:
        raise InvalidError(errors={"send_at": [_("Enter a date and a time.")]}) from error
