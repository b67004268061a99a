"""Reads Meta's webhooks: receipts, messages, and news of the account and its templates.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from service.channels.drivers.whatsapp_cloud import updates
from service.channels.drivers.whatsapp_cloud.errors import meaning, reported
from service.channels.drivers.whatsapp_cloud.messages import read_messages
from service.channels.wa_ids import spellings
from service.channels.webhooks import (
    Notice,
    Person,
    Preference,
    Receipt,
    ReceiptState,
    Report,
    WebhookCall,
    parsed,
)

SIGNATURE_HEADER: Final = "X-Hub-Signature-256"

_STATES: Final = {state.value: state for state in ReceiptState} | {"played": ReceiptState.READ}
"""The states by Meta's words; `played` is for voice messages only."""


def challenge(query: Mapping[str, str], settings: Mapping[str, Any]) -> str | None:
    """Return the answer to Meta's handshake, None if it does not know the session's token."""
    expected = str(settings.get("verify_token") or "")
    said = query.get("hub.verify_token", "")
    if query.get("hub.mode") != "subscribe" or not expected:
        return None
    is_known = hmac.compare_digest(said.encode(), expected.encode())
    return query.get("hub.challenge", "") if is_known else None


def is_authentic(call: WebhookCall, settings: Mapping[str, Any]) -> bool:
    """Return whether a webhook is signed with the session's app secret."""
    secret = str(settings.get("app_secret") or "")
    signed = f"sha256={hmac.new(secret.encode(), call.body, hashlib.sha256).hexdigest()}"
    return bool(secret) and call.is_signed(SIGNATURE_HEADER, signed)


def parse_report(raw: bytes, settings: Mapping[str, Any]) -> Report:
    """Return a webhook's report on a session; raises UnreadableReportError.

    Meta has one webhook per app. Changes of other phone numbers are ignored, and so are those of
    other accounts if the session names its own.
    """
    report = Report()
    account = str(settings.get("business_account_id") or "")
    for payload in report.objects(parsed(raw)):
        for entry in report.objects(payload.get("entry")):
            is_mine = account in {"", str(entry.get("id"))}
            for change in report.objects(entry.get("changes")):
                word = change.get("field")
                if word in _OF_NUMBER:
                    _read_value(report, change.get("value"), settings, _OF_NUMBER[word])
                elif is_mine and word in _OF_ACCOUNT:
                    for value in report.objects(change.get("value")):
                        _OF_ACCOUNT[word](report, value, updates.moment(entry.get("time")))
    return report


def _read_value(
    report: Report,
    value: object,
    settings: Mapping[str, Any],
    read: Callable[[Report, Mapping[str, Any]], None],
) -> None:
    for said in report.objects(value):
        metadata = said.get("metadata")
        if not isinstance(metadata, Mapping):
            report.odd += 1  # it does not say whose messages it is about
        elif str(metadata.get("phone_number_id")) == settings["phone_number_id"]:
            _read_people(report, said)
            read(report, said)


def _read_of_messages(report: Report, said: Mapping[str, Any]) -> None:
    for status in report.objects(said.get("statuses")):
        _read_status(report, status)
    read_messages(report, said)
    for error in report.objects(said.get("errors")):
        report.words.append(Notice(meaning(error)))


def _read_preferences(report: Report, said: Mapping[str, Any]) -> None:
    for each in report.objects(said.get("user_preferences")):
        number, user_id = str(each.get("wa_id") or ""), str(each.get("user_id") or "")
        value = str(each.get("value") or "").lower()
        if value in {"stop", "resume"} and (number or user_id):
            forms = _forms(number, user_id)
            at = updates.moment(each.get("timestamp"))
            report.preferences.append(Preference(forms, stops=value == "stop", at=at))
        else:
            report.odd += 1


def _read_people(report: Report, said: Mapping[str, Any]) -> None:
    """Note who has a number and a user id."""
    for contact in report.objects(said.get("contacts")):
        number, user_id = contact.get("wa_id"), contact.get("user_id")
        if isinstance(number, str) and isinstance(user_id, str) and number and user_id:
            report.people.append(Person(number, user_id))


def _read_status(report: Report, status: Mapping[str, Any]) -> None:
    known_as, word = status.get("id"), status.get("status")
    if not isinstance(known_as, str) or not isinstance(word, str):
        report.odd += 1
    elif word in _STATES:
        state, number = _STATES[word], str(status.get("recipient_id") or "")
        user_id = str(status.get("recipient_user_id") or "")
        failed = state is ReceiptState.FAILED
        receipt = Receipt(
            provider_id=known_as,
            state=state,
            reference=str(status.get("biz_opaque_callback_data") or ""),
            recipients=_forms(number, user_id),
            error=reported([*report.objects(status.get("errors"))]) if failed else None,
            pricing=_pricing(status.get("pricing")),
        )
        report.words.append(receipt)
        if number and user_id:
            report.people.append(Person(number, user_id))


def _forms(number: str, user_id: str) -> tuple[str, ...]:
    """Return all addresses of a person, who has a number or a user id, or both."""
    numbers = spellings(number) if number else []
    return (*numbers, user_id) if user_id else tuple(numbers)


def _pricing(said: object) -> str:
    """Return how a message is charged, such as `PMP regular marketing billable`."""
    if not isinstance(said, dict):
        return ""
    model, kind, category = said.get("pricing_model"), said.get("type"), said.get("category")
    billable = said.get("billable")
    is_billable = billable if isinstance(billable, bool) else None
    return _price_class(str(model or ""), str(kind or ""), str(category or ""), is_billable)


@lru_cache(maxsize=256)
def _price_class(model: str, kind: str, category: str, billable: bool | None) -> str:  # noqa: FBT001 - as Meta says it
    """Join the words of a price class. The few results are cached: every status has one."""
    charged = {True: "billable", False: "free", None: ""}[billable]
    return " ".join(filter(None, (model, kind, category, charged)))


_OF_NUMBER: Final = {"messages": _read_of_messages, "user_preferences": _read_preferences}
_OF_ACCOUNT: Final = {
    "account_update": updates.read_account,
    "phone_number_quality_update": updates.read_quality,
    "message_template_status_update": updates.read_template,
    "message_template_quality_update": updates.read_template_quality,
}
