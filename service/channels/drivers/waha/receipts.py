"""WAHA's webhooks: statuses of messages and of the session.

https://waha.devlike.pro/docs/how-to/events/
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, Final

from service.channels.drivers.waha.errors import WORKING, failed, not_working
from service.channels.drivers.waha.message_ids import reference_of, shortened
from service.channels.drivers.waha.messages import read_message
from service.channels.drivers.waha.restrictions import of_account
from service.channels.webhooks import Notice, Receipt, ReceiptState, Report, WebhookCall, parsed

SIGNATURE_HEADER: Final = "X-Webhook-Hmac"

_STATES: Final = {
    -1: ReceiptState.FAILED,
    1: ReceiptState.SENT,
    2: ReceiptState.DELIVERED,
    3: ReceiptState.READ,
    4: ReceiptState.READ,  # played
}


def is_authentic(call: WebhookCall, settings: Mapping[str, Any]) -> bool:
    """Return whether a webhook is signed with the session's key."""
    key = str(settings.get("webhook_key") or "")
    signed = hmac.new(key.encode(), call.body, hashlib.sha512).hexdigest()
    return bool(key) and call.is_signed(SIGNATURE_HEADER, signed)


def parse_report(raw: bytes, settings: Mapping[str, Any]) -> Report:
    """Parse a webhook; raises UnreadableReportError.

    For a group, the first member's acknowledgement counts.
    """
    report = Report()
    for event in report.objects(parsed(raw)):
        if str(event.get("session")) == (settings.get("session") or "default"):
            for payload in report.objects(event.get("payload")):
                match event.get("event"):
                    case "message.ack" | "message.ack.group":
                        _read_acknowledgement(report, payload)
                    case "message":
                        read_message(report, payload)
                    case "session.status":
                        _read_status(report, payload, event.get("me"))
    return report


def _read_acknowledgement(report: Report, payload: Mapping[str, Any]) -> None:
    known_as, ack = payload.get("id"), payload.get("ack")
    if not isinstance(known_as, str) or type(ack) is not int:
        report.odd += 1
    elif ack in _STATES and payload.get("fromMe", True):
        message_id = shortened(known_as)
        receipt = Receipt(
            provider_id=message_id,
            state=_STATES[ack],
            reference=reference_of(message_id),
            error=failed(payload) if _STATES[ack] is ReceiptState.FAILED else None,
        )
        report.words.append(receipt)


def _read_status(report: Report, payload: Mapping[str, Any], me: object) -> None:
    status = payload.get("status")
    if not isinstance(status, str):
        report.odd += 1
    elif status != WORKING:
        report.words.append(Notice(not_working(status)))
    else:
        report.words.append(Notice(None))
        if restriction := of_account(me, time.time()):
            report.words.append(Notice(restriction))
