"""Webhooks: providers sign their requests instead of sending a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from flask import Response

from service.blueprints.api import Blueprint
from service.blueprints.context import address, crier
from service.blueprints.requests import request
from service.channels.webhooks import Report, WebhookCall
from service.core import inbox, webhooks
from service.core.inbox_sessions import InboxSession
from service.database import now_ms
from service.dispatch.sending.revocations import await_end
from service.errors import (
    BusyError,
    ForgedWebhookError,
    NowhereError,
    TooLargeError,
    TooManyReportsError,
    UnreadableBodyError,
)
from service.metrics import meters
from service.schemas.webhooks import ReceivedSchema

log = structlog.get_logger(__name__)

WHATSAPP_CLOUD: Final = "whatsapp_cloud"

blueprint = Blueprint("webhooks", __name__, description="Reports from providers")


@blueprint.get("/webhook/<id:session_id>", "verifyWebhook")
@blueprint.sends_text("The challenge, or nothing")
@blueprint.raises(ForgedWebhookError, NowhereError, BusyError)
@blueprint.raises(TooLargeError, UnreadableBodyError, TooManyReportsError)
def verify(session_id: str) -> Response:
    """Answer Meta's handshake, or receive a report from a provider that sends it in the query."""
    with crier().database.reading() as db:
        said = webhooks.answer_challenge(db, session_id, request.args, accounts=crier().accounts)
    if not said:
        _take(session_id, request.query_string)
    return Response(said, mimetype="text/plain")


@blueprint.get("/webhook/whatsapp_cloud", "verifyAppWebhook")
@blueprint.sends_text("The challenge")
@blueprint.raises(ForgedWebhookError, BusyError)
def verify_of_app() -> Response:
    """Answer the request that sets up a Meta app's webhook; any session's token is accepted."""
    with crier().database.reading() as db:
        said = webhooks.answer_app_challenge(
            db, WHATSAPP_CLOUD, request.args, accounts=crier().accounts
        )
    return Response(said, mimetype="text/plain")


@blueprint.post("/webhook/<id:session_id>", "receiveWebhook")
@blueprint.takes_anything()
@blueprint.raises(ForgedWebhookError, NowhereError, TooLargeError, UnreadableBodyError)
@blueprint.raises(TooManyReportsError, BusyError)
@blueprint.answers(200, ReceivedSchema, "Webhook received successfully!")
def receive(session_id: str) -> dict[str, int]:
    """Receive a provider's report on a session. The signature covers the raw body.

    If the report contains an opt-out, the answer waits until no process can send to that person.
    """
    return _take(session_id, request.raw)


@blueprint.post("/webhook/whatsapp_cloud", "receiveAppWebhook")
@blueprint.takes_anything()
@blueprint.raises(ForgedWebhookError, TooLargeError, UnreadableBodyError)
@blueprint.raises(TooManyReportsError, BusyError)
@blueprint.answers(200, ReceivedSchema, "Webhook received successfully!")
def receive_of_app() -> dict[str, int]:
    """Receive a report of a Meta app on all its phone numbers, accounts and templates.

    It goes to the sessions whose `app_secret` signed it and whose number or account it names.
    """
    call = _call(request.raw, f"webhook/{WHATSAPP_CLOUD}")
    with crier().database.reading() as db:
        found = webhooks.read_of_app(db, WHATSAPP_CLOUD, call, accounts=crier().accounts)
    return _store(found)


def _call(body: bytes, path: str) -> WebhookCall:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return WebhookCall(body, headers, request.args, address(path))


def _take(session_id: str, body: bytes) -> dict[str, int]:
    """Verify and store a report on a session."""
    call = _call(body, f"webhook/{session_id}")
    with crier().database.reading() as db:
        found = webhooks.read(db, session_id, call, accounts=crier().accounts)
    return _store([found])


def _store(reports: Sequence[tuple[InboxSession, Report]]) -> dict[str, int]:
    """Store verified reports."""
    for session, report in reports:
        if report.odd:
            log.warning(
                "webhook elements not understood", session_id=session.id, elements=report.odd
            )
            meters.skipped("odd", report.odd)
    told = [each for each in reports if each[1]]
    if told:
        database = crier().database
        # If one of several sessions refused the report, the provider would repeat it for all.
        only_adds = len(told) == 1 and inbox.only_adds(*told[0])
        with database.appending() if only_adds else database.writing() as db:
            now = now_ms()
            revoked = [claim for each in told for claim in inbox.store(db, *each, now=now)]
        await_end(database, revoked)
    return {"receipts": sum(len(report.words) for _, report in reports)}
