"""Webhooks: providers sign their requests instead of sending a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from flask import Response

from service.blueprints.api import Blueprint
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.channels.base import Report
from service.core import inbox, webhooks
from service.database import now_ms
from service.errors import (
    BusyError,
    ForgedWebhookError,
    NowhereError,
    TooLargeError,
    TooManyReportsError,
    UnreadableBodyError,
)
from service.metrics import meters
from service.models import Session
from service.schemas.webhooks import ReceivedSchema

log = structlog.get_logger(__name__)

WHATSAPP_CLOUD: Final = "whatsapp_cloud"

blueprint = Blueprint("webhooks", __name__, description="Reports from providers")


@blueprint.get("/webhook/<id:session_id>", "verifyWebhook")
@blueprint.sends_text("The challenge")
@blueprint.raises(ForgedWebhookError, NowhereError, BusyError)
def verify(session_id: str) -> Response:
    """Answer the request that sets up a session's webhook (Meta's handshake)."""
    with crier().database.reading() as db:
        said = webhooks.answer_challenge(db, session_id, request.args, accounts=crier().accounts)
    return Response(said, mimetype="text/plain")


@blueprint.get("/webhook/whatsapp_cloud", "verifyAppWebhook")
@blueprint.sends_text("The challenge")
@blueprint.raises(ForgedWebhookError, BusyError)
def verify_of_app() -> Response:
    """Answer the request that sets up the webhook of a Meta app; any session's token will do."""
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

    If somebody opts out in it, the answer comes when no process can send to them any more.
    """
    raw, headers = request.raw, dict(request.headers)
    with crier().database.reading() as db:
        session, report = webhooks.read(db, session_id, raw, headers, accounts=crier().accounts)
    return _store([(session, report)])


@blueprint.post("/webhook/whatsapp_cloud", "receiveAppWebhook")
@blueprint.takes_anything()
@blueprint.raises(ForgedWebhookError, TooLargeError, UnreadableBodyError)
@blueprint.raises(TooManyReportsError, BusyError)
@blueprint.answers(200, ReceivedSchema, "Webhook received successfully!")
def receive_of_app() -> dict[str, int]:
    """Receive a report of a Meta app on all its phone numbers, accounts and templates.

    The sessions whose `app_secret` signed it, and whose number or account it names, get it.
    """
    raw, headers = request.raw, dict(request.headers)
    with crier().database.reading() as db:
        found = webhooks.read_of_app(db, WHATSAPP_CLOUD, raw, headers, accounts=crier().accounts)
    return _store(found)


def _store(reports: Sequence[tuple[Session, Report]]) -> dict[str, int]:
    """Store verified reports."""
    for session, report in reports:
        if report.odd:
            log.warning(
                "webhook elements not understood", session_id=session.id, elements=report.odd
            )
            meters.skipped("odd", report.odd)
    if any(report for _, report in reports):
        with crier().database.writing() as db:
            revoked = [
                claim
                for session, report in reports
                if report
                for claim in inbox.store(db, session, report, now=now_ms())
            ]
        crier().dispatcher.await_end(revoked)
    return {"receipts": sum(len(report.words) for _, report in reports)}
