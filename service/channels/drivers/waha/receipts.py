"""What WAHA tells the webhook about messages that it took.

https://waha.devlike.pro/docs/how-to/events/
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from service.channels.base import UNREADABLE, Receipt, ReceiptState, UnreadableReceiptError
from service.channels.drivers.waha.message_ids import reference_of, shortened

SIGNATURE_HEADER: Final = "X-Webhook-Hmac"

_STATES: Final = {
    -1: ReceiptState.FAILED,
    1: ReceiptState.SENT,
    2: ReceiptState.DELIVERED,
    3: ReceiptState.READ,
    4: ReceiptState.READ,  # played
}


def is_authentic(raw: bytes, signature: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a webhook's bytes are signed with the session's key."""
    key = str(settings.get("webhook_key") or "")
    signed = hmac.new(key.encode(), raw, hashlib.sha512).hexdigest()
    return bool(key) and hmac.compare_digest(signature.encode(), signed.encode())


def parse_receipts(raw: bytes, settings: Mapping[str, Any]) -> list[Receipt]:
    """Return what a webhook says about our messages; raises UnreadableReceiptError.

    Of a group, the first member's acknowledgement counts for the whole.
    """
    try:
        event = json.loads(raw)
        ours = event["session"] == (settings.get("session") or "default")
        if not ours or event["event"] not in {"message.ack", "message.ack.group"}:
            return []
        acknowledged = event["payload"]
        state = _STATES.get(acknowledged["ack"])
        if state is None or not acknowledged.get("fromMe", True):
            return []
        return [_receipt(acknowledged["id"], state, event.get("timestamp"))]
    except UNREADABLE as error:
        raise UnreadableReceiptError from error


def _receipt(serialized: str, state: ReceiptState, milliseconds: float | None) -> Receipt:
    message_id = shortened(serialized)
    return Receipt(
        provider_id=message_id,
        state=state,
        at=(milliseconds or 0) / 1000,
        reference=reference_of(message_id),
        reason="WhatsApp could not deliver it." if state is ReceiptState.FAILED else "",
    )
