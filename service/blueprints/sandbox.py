"""Route of the sandbox: the messages that it received."""

from __future__ import annotations

from typing import Any

from service import ids
from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, named_session, searched, within
from service.channels.drivers import sandbox
from service.channels.webhooks import Inbound
from service.core import inbox_sessions, numbers, replies, sessions, usages
from service.core.paging import Page
from service.core.tokens import Scope
from service.database import now_ms
from service.dispatch.sending.revocations import await_end
from service.errors import BusyError, InvalidError, LimitError
from service.schemas.base import Shown
from service.schemas.pages import SandboxPageSchema
from service.schemas.sandbox import (
    SandboxMessageSchema,
    SandboxRepliedSchema,
    SandboxReplySchema,
)

blueprint = Blueprint("sandbox", __name__, description="A provider for trying things out")


@blueprint.get("/sandbox/message", "listSandboxMessages")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(SandboxPageSchema)
@blueprint.answers(200, SandboxMessageSchema, "Message fetched successfully!", many=True)
def index(wanted: dict[str, Any]) -> Page[dict[str, Any]]:
    """Fetch the messages that the sandbox received from your sessions, oldest first."""
    page, session_id = wanted["page"], wanted["session_id"] or within()
    with crier().database.reading() as db:
        mine = sessions.on_channel(db, caller().client_id, sandbox.Sandbox.name)
    if session_id:
        mine = [each for each in mine if each == session_id]
    store = crier().settings.sandbox_store
    recipients = searched(wanted["recipient"])
    total, _ = sandbox.received(store, mine, 0, 0, recipients=recipients)
    page.check(total)
    total, messages = sandbox.received(
        *(store, mine, page.offset, page.page_size),
        recipients=recipients,
        descending=page.descending,
    )
    return Page(messages, total, page)


@blueprint.post("/sandbox/reply", "createSandboxReply")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.takes(SandboxReplySchema)
@blueprint.raises(BusyError, LimitError)
@blueprint.answers(201, SandboxRepliedSchema, "Reply created successfully!")
def reply(body: dict[str, Any]) -> Shown:
    """Write to a session on the sandbox as one of its recipients would: an answer, or STOP.

    Crier handles it like a message that a provider reports. `session_id` names the session.
    """
    message = inbound(body)
    with crier().database.writing() as db:
        session = sessions.choose(db, caller().client_id, within() or named_session())
        if session.channel != sandbox.Sandbox.name:
            reason = f"Is on the channel {session.channel!r}: only the sandbox can be written to."
            raise InvalidError(errors={"session_id": [reason]})
        revoked = replies.receive(db, inbox_sessions.get(db, session.id), [message], now=now_ms())
        usages.note(db, session.client_id, sandbox_replies=1)
    await_end(crier().database, revoked)
    return Shown(message, session_id=session.id)


def inbound(body: dict[str, Any]) -> Inbound:
    """Return a message as a provider would report it; raises InvalidError."""
    number = numbers.normalise(body["recipient"])
    if number is None:
        wrong = f"{body['recipient'][:40]!r} {numbers.reason(body['recipient'])}."
        raise InvalidError(errors={"recipient": [wrong]})
    payload = body.get("button", "")
    return Inbound(
        message_id=f"sandbox-{ids.new()}",
        sender=number,
        kind="button" if payload else "text",
        text=body["text"],
        name=body.get("name", ""),
        payload=payload,
    )
