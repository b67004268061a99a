"""Composing: a message and its people, looked at before it goes out, tried on oneself, and sent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, cast

from flask import Response, render_template, url_for
from sqlalchemy.orm import Session as Db
from werkzeug.datastructures import MultiDict

from service.blueprints import intake
from service.blueprints.attachments import keep
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import (
    bubbles,
    fallbacks,
    formats,
    forms,
    hours,
    lists,
    notices,
    orders,
    progress,
    reviews,
    templates,
)
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.console.reviews import StaleReviewError
from service.core import (
    attachments,
    broadcasts,
    groups,
    members,
    overviews,
    previews,
    sessions,
)
from service.core.broadcast_requests import BroadcastRequest
from service.core.intake import Plan
from service.core.numbering import Numbering
from service.core.paging import LARGEST_SIZE, PageRequest
from service.core.previews import Message
from service.core.tokens import Scope
from service.database import now_ms
from service.errors import InvalidError
from service.models import Attachment, Broadcast, DeliveryStatus, SendType

blueprint = Section("compose", __name__)

_ALL = PageRequest(1, LARGEST_SIZE)
_INVALID = 422
_EARLIER = 50
_OWN = frozenset({"csrf", "key", reviews.SHOWN})
"""Fields that each page makes anew."""


@blueprint.page("/compose", Scope.SEND)
def show() -> str:
    """Ask for a message and its people; `like` names a broadcast to begin with."""
    given: MultiDict[str, str] = MultiDict(request.args.items(multi=True))
    like = request.args.get("like", "")
    with crier().database.reading() as db:
        if like:
            given.update(_like(broadcasts.get(db, visitor().client_id, like)))
        return _form(db, given, {})


@blueprint.action("/compose", "broadcast.preview", Scope.SEND)
def review() -> str | tuple[str, int]:
    """Show a preview of the broadcast. Nothing is stored."""
    try:
        asked = orders.order(orders.document())
        with crier().database.reading() as db:
            return _review(db, orders.without_invalid(db, asked))
    except InvalidError as error:
        with crier().database.reading() as db:
            return _form(db, request.form, error.errors), _INVALID


@blueprint.action("/compose/edit", "broadcast.preview", Scope.SEND)
def edit() -> str:
    """Go back to the form with all that was filled in."""
    with crier().database.reading() as db:
        return _form(db, request.form, {})


@blueprint.action("/compose/test", "broadcast.create", Scope.SEND)
def test() -> Response:
    """Send the message to one number at once, as a separate broadcast.

    Placeholders get the values of the first recipient.
    """
    document = orders.document()
    number = forms.text("test_number")
    values = forms.document("values", {})
    document["to"] = [{"to": number, "variables": values}] if values else number
    document["send_type"] = str(SendType.INDIVIDUAL)
    for name in ("send_at", "audience", "sample", "fallback", "window"):
        document.pop(name, None)
    broadcast = _accept(orders.order(document))
    notices.give(_("The test message is being sent."))
    return _to(broadcast)


@blueprint.action("/compose/send", "broadcast.create", Scope.SEND)
def send() -> Response | tuple[str, int]:
    """Accept the broadcast; the same form sent twice makes one.

    If the broadcast has changed since the review, nothing is sent and the review is shown again.
    """
    asked = orders.order(orders.document(), key=forms.text("key"))
    with crier().database.reading() as db:
        asked = orders.without_invalid(db, asked)
    try:
        return _to(_accept(asked, reviews.check))
    except StaleReviewError as error:
        with crier().database.reading() as db:
            return _review(db, asked, problem=error.message), error.status


@blueprint.action("/attachments", "attachment.create", Scope.SEND)
def attach() -> str:
    """Store a file, and answer with the field that carries its id."""
    upload = forms.file("file")
    stored = attachments.store(crier().storage, cast("Any", upload.stream), upload.filename or "")
    attachment = keep(stored)
    return render_template("console/_attachment.html", attachment=_attached(attachment))


def _accept(order: BroadcastRequest, check: Callable[[Plan], None] | None = None) -> Broadcast:
    return intake.accept(order, lambda _db, accepted: accepted.broadcast, check)


def _review(db: Db, asked: BroadcastRequest, problem: str = "") -> str:
    preview = previews.make(db, visitor().client_id, asked, accounts=crier().accounts, now=now_ms())
    broadcast = preview.plan.broadcast
    return render_template(
        "console/review.html",
        preview=preview,
        messages=[_phone(message) for message in preview.messages],
        content=bubbles.of_content(broadcast.content),
        broadcast=broadcast,
        session=preview.plan.session,
        names=fallbacks.names(db, [step.session_id for step in preview.fallback]),
        countries=formats.countries(preview.countries),
        fields=_fields(),
        problem=problem,
        shown=reviews.marks(preview.messages),
        key=secrets.token_hex(16),
    )


def _phone(message: Message) -> dict[str, Any]:
    """Return one of the first recipients and the message that they would see."""
    pieces = [bubbles.of_part(part) for part in message.parts]
    values = json.dumps(dict(message.variables), ensure_ascii=False)
    return {"recipient": message.recipient, "bubbles": pieces, "values": values}


def _fields() -> list[tuple[str, str]]:
    """Return all that the form says, for the next one to carry."""
    return [pair for pair in request.form.items(multi=True) if pair[0] not in _OWN]


def _form(db: Db, given: MultiDict[str, str], faults: dict[str, Any]) -> str:
    client_id = visitor().client_id
    chosen = [attachments.get(db, client_id, each) for each in given.getlist("attachment") if each]
    mine = groups.page(db, client_id, _ALL).items
    earlier = overviews.newest(db, client_id, _EARLIER)
    accounts = sessions.page(db, client_id, _ALL).items
    return render_template(
        "console/compose.html",
        given=given,
        audiences=orders.AUDIENCES,
        faults=faults,
        list=lists.carried(),
        attachments=[_attached(each) for each in chosen],
        groups=mine,
        sizes=members.sizes(db, mine),
        earlier=[*progress.of(db, earlier).values()],
        statuses=[*DeliveryStatus],
        sessions=accounts,
        steps=fallbacks.NUMBERS,
        regions=formats.regions(),
        home=visitor().caller.numbering.default_region,
        **templates.picker(db, given),
        window={**given, "window.days": given.getlist("window.days")},
        longest=crier().settings.max_text_chars,
        most_files=crier().settings.max_attachments,
    )


def _attached(attachment: Attachment) -> dict[str, Any]:
    url = url_for("files.show", file=attachments.file_of(attachment))
    is_picture = attachment.mimetype.startswith("image/")
    name = attachment.filename or attachments.file_of(attachment)
    return {"id": attachment.id, "name": name, "url": url, "is_picture": is_picture}


def _like(broadcast: Broadcast) -> MultiDict[str, str]:
    """Return the form of a broadcast that says the same."""
    message = broadcast.message
    given: MultiDict[str, str] = MultiDict({"text": message.get("text") or ""})
    if broadcast.personalisation:
        given["personalise"] = "yes"
    for name, value in hours.filled(broadcast.window).items():
        given.setlist(name, value if isinstance(value, list) else [value])
    given["default_region"] = Numbering.restore(broadcast.numbering).default_region
    if template := message.get("template"):
        given.update(templates.fields(template))
    given.update(fallbacks.fields(broadcast.fallback))
    given.setlist("attachment", message.get("attachments") or [])
    for name, value in (message.get("location") or {}).items():
        given[f"location.{name}"] = str(value)
    return given


def _to(broadcast: Broadcast) -> Response:
    return to_page("broadcasts.show", broadcast_id=broadcast.id)
