"""Meta's webhooks: statuses of messages and of the account.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components#statuses-object
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from service.channels.base import Notice, Receipt, ReceiptState, Report, parsed
from service.channels.drivers.whatsapp_cloud.errors import meaning, reported
from service.channels.drivers.whatsapp_cloud.messages import read_messages
from service.channels.wa_ids import spellings

SIGNATURE_HEADER: Final = "X-Hub-Signature-256"

_STATES: Final = {state.value: state for state in ReceiptState} | {"played": ReceiptState.READ}
"""States by Meta's status. Only voice messages are `played`."""


def challenge(query: Mapping[str, str], settings: Mapping[str, Any]) -> str | None:
    """Return the answer to Meta's handshake, None if its verify token is wrong."""
    expected = str(settings.get("verify_token") or "")
    said = query.get("hub.verify_token", "")
    if query.get("hub.mode") != "subscribe" or not expected:
        return None
    is_known = hmac.compare_digest(said.encode(), expected.encode())
    return query.get("hub.challenge", "") if is_known else None


def is_authentic(raw: bytes, signature: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a webhook is signed with the session's app secret."""
    secret = str(settings.get("app_secret") or "")
    signed = f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"
    return bool(secret) and hmac.compare_digest(signature.encode(), signed.encode())


def parse_report(raw: bytes, settings: Mapping[str, Any]) -> Report:
    """Parse a webhook; raises UnreadableReportError.

    Meta has one webhook per app, so elements about other phone numbers are ignored.
    """
    report = Report()
    for payload in report.objects(parsed(raw)):
        for entry in report.objects(payload.get("entry")):
            for change in report.objects(entry.get("changes")):
                if change.get("field") == "messages":
                    _read_value(report, change.get("value"), settings)
    return report


def _read_value(report: Report, value: object, settings: Mapping[str, Any]) -> None:
    for said in report.objects(value):
        metadata = said.get("metadata")
        if not isinstance(metadata, Mapping):
            report.odd += 1  # it does not name a phone number
        elif str(metadata.get("phone_number_id")) == settings["phone_number_id"]:
            for status in report.objects(said.get("statuses")):
                _read_status(report, status)
            read_messages(report, said)
            for error in report.objects(said.get("errors")):
                report.words.append(Notice(meaning(error)))


def _read_status(report: Report, status: Mapping[str, Any]) -> None:
    known_as, word = status.get("id"), status.get("status")
    if not isinstance(known_as, str) or not isinstance(word, str):
        report.odd += 1
    elif word in _STATES:
        failed = _STATES[word] is ReceiptState.FAILED
        receipt = Receipt(
            provider_id=known_as,
            state=_STATES[word],
            reference=str(status.get("biz_opaque_callback_data") or ""),
            recipients=tuple(spellings(str(status.get("recipient_id") or ""))),
            error=reported([*report.objects(status.get("errors"))]) if failed else None,
        )
        report.words.append(receipt)
