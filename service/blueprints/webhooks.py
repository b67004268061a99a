"""Webhooks: providers sign their requests instead of sending a token."""

from __future__ import annotations

import structlog
from flask import Response

from service.blueprints.api import Blueprint
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.core import receipts, replies, webhooks
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
from service.schemas.webhooks import ReceivedSchema

log = structlog.get_logger(__name__)

blueprint = Blueprint("webhooks", __name__, description="Reports from providers")


@blueprint.get("/webhook/<id:session_id>", "verifyWebhook")
@blueprint.sends_text("The challenge")
@blueprint.raises(ForgedWebhookError, NowhereError, BusyError)
def verify(session_id: str) -> Response:
    """Answer the request that sets up a session's webhook (Meta's handshake)."""
    with crier().database.reading() as db:
        said = webhooks.answer_challenge(db, session_id, request.args, accounts=crier().accounts)
    return Response(said, mimetype="text/plain")


@blueprint.post("/webhook/<id:session_id>", "receiveWebhook")
@blueprint.takes_anything()
@blueprint.raises(ForgedWebhookError, NowhereError, TooLargeError, UnreadableBodyError)
@blueprint.raises(TooManyReportsError, BusyError)
@blueprint.answers(200, ReceivedSchema, "Webhook received successfully!")
def receive(session_id: str) -> dict[str, int]:
    """Take the provider's word on messages of a session; the signature is over the raw bytes.

    Where somebody asks for no more messages, it is answered once none of them can begin to be sent.
    """
    raw, headers = request.raw, dict(request.headers)
    with crier().database.reading() as db:
        session, report = webhooks.read(db, session_id, raw, headers, accounts=crier().accounts)
    if report.odd:
        log.warning("webhook elements not understood", session_id=session_id, elements=report.odd)
        meters.skipped("odd", report.odd)
    # Only now, so that nobody without the session's secret can have us write.
    if report:
        with crier().database.writing() as db:
            receipts.store(db, session_id, report.words, now=now_ms())
            revoked = replies.receive(db, session, report.inbound, now=now_ms())
        crier().dispatcher.await_end(revoked)
    return {"receipts": len(report.words)}
