"""Orders: what the form of a new broadcast says, as the body of `POST /broadcast` would say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import formats, forms
from service.console.language import gettext as _
from service.core import fingerprints, recipients
from service.core.intake import BroadcastRequest
from service.errors import InvalidError
from service.models import SendType
from service.schemas.broadcasts import BroadcastRequestSchema

_PLACE = ("name", "lat", "lng")


def document() -> dict[str, Any]:
    """Return the body that the form stands for; raises InvalidError for an unreadable moment."""
    is_group = forms.text("audience") == SendType.GROUP
    written = {
        "send_type": str(SendType.GROUP if is_group else SendType.INDIVIDUAL),
        "to": request.form.getlist("group") if is_group else request.form.get("to", ""),
        "message": _message(),
        "send_at": _send_at(),
        "session_id": forms.text("session_id"),
    }
    return {name: value for name, value in written.items() if value not in (None, "")}


def order(document: dict[str, Any], key: str = "") -> BroadcastRequest:
    """Return what a document asks for; raises InvalidError with every fault of its form.

    Bad entries are left out where the form says so; `key` makes a repeated request harmless.
    """
    _insist_on_recipients(document)
    body = forms.check(BroadcastRequestSchema, document)
    most = crier().settings.max_recipients
    people = recipients.read(body["to"], body["send_type"], most=most)
    if forms.text("skip"):
        people = replace(people, bad=(), bad_count=0)
    return BroadcastRequest(
        session_id=document.get("session_id", ""),
        people=people,
        message=document["message"],
        send_at=body.get("send_at"),
        idempotency_key=key or None,
        fingerprint=fingerprints.take(document) if key else "",
    )


def _insist_on_recipients(document: dict[str, Any]) -> None:
    if not document.get("to"):
        raise InvalidError(errors={"to": [_("Enter at least one recipient.")]})


def _message() -> dict[str, Any]:
    place = {name: forms.text(f"location.{name}") for name in _PLACE}
    template = {"name": forms.text("template.name"), "language": forms.text("template.language")}
    message = {
        "text": request.form.get("text", "").replace("\r\n", "\n"),
        "attachments": request.form.getlist("attachment"),
        "location": place if place["lat"] or place["lng"] else {},
        "template": template if template["name"] else {},
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
