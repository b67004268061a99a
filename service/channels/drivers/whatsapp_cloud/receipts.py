"""What Meta tells the webhook about messages that it took.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components#statuses-object
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from service.channels.base import UNREADABLE, Receipt, ReceiptState, UnreadableReceiptError
from service.channels.drivers.whatsapp_cloud.errors import OPTED_OUT, describe

SIGNATURE_HEADER: Final = "X-Hub-Signature-256"

_STATES: Final = {state.value: state for state in ReceiptState} | {"played": ReceiptState.READ}
"""What Meta's words mean; `played` comes of voice messages only."""


def challenge(query: Mapping[str, str], settings: Mapping[str, Any]) -> str | None:
    """Return what answers Meta's handshake, None when it does not know the session's token."""
    expected = str(settings.get("verify_token") or "")
    said = query.get("hub.verify_token", "")
    if query.get("hub.mode") != "subscribe" or not expected:
        return None
    is_known = hmac.compare_digest(said.encode(), expected.encode())
    return query.get("hub.challenge", "") if is_known else None


def is_authentic(raw: bytes, signature: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a webhook's bytes are signed with the session's app secret."""
    secret = str(settings.get("app_secret") or "")
    signed = f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"
    return bool(secret) and hmac.compare_digest(signature.encode(), signed.encode())


def parse_receipts(raw: bytes, settings: Mapping[str, Any]) -> list[Receipt]:
    """Return what a webhook says about our messages; raises UnreadableReceiptError.

    Meta has one webhook per app: what is about another phone number is left out.
    """
    try:
        return [
            _receipt(status)
            for value in _values(json.loads(raw))
            if value["metadata"]["phone_number_id"] == settings["phone_number_id"]
            for status in value.get("statuses", ())
            if status["status"] in _STATES
        ]
    except UNREADABLE as error:
        raise UnreadableReceiptError from error


def _values(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in payload["entry"]:
        for change in entry.get("changes", ()):
            if change.get("field") == "messages":
                yield change["value"]


def _receipt(status: Mapping[str, Any]) -> Receipt:
    errors = (each for each in status.get("errors") or () if isinstance(each, Mapping))
    error: Mapping[str, Any] = next(errors, {})
    return Receipt(
        provider_id=str(status["id"]),
        state=_STATES[status["status"]],
        at=float(status.get("timestamp") or 0),
        reference=str(status.get("biz_opaque_callback_data") or ""),
        reason=describe(error) if error else "",
        code=str(error.get("code", "")),
        opted_out=error.get("code") == OPTED_OUT,
    )
