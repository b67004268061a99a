"""Twilio: SMS by Programmable Messaging, with receipts.

https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.channels.answers import Answer, refusal
from service.channels.base import Account, DriverContext
from service.channels.content import Part
from service.channels.errors import BlockedError, SendError
from service.channels.settings import BaseUrl, Secret
from service.channels.sms import messages, reports
from service.channels.sms.codes import About, Code, Codes
from service.channels.sms.driver import SmsDriver
from service.channels.sms.messages import FORM, SmsSettings
from service.channels.steps import Conversation, get, post
from service.channels.webhooks import Receipt, ReceiptState, Report, Webhook, WebhookCall

BASE_URL: Final = "https://api.twilio.com"
SIGNATURE_HEADER: Final = "X-Twilio-Signature"

CODES: Final = Codes(
    "Twilio",
    {
        14107: Code(About.LIMIT, "The account sends faster than its limit."),
        20003: Code(About.ACCOUNT, "Twilio refuses the account's credentials."),
        20005: Code(About.ACCOUNT, "The Twilio account is not active."),
        20429: Code(About.LIMIT, "Too many requests to Twilio at the same time."),
        20500: Code(About.PASSING, "Twilio had a temporary error."),
        20503: Code(About.PASSING, "Twilio is not available."),
        21211: Code(About.RECIPIENT, "This is not a valid number."),
        21212: Code(About.ACCOUNT, "The sender is not valid."),
        21408: Code(About.RECIPIENT, "Twilio's geo permissions do not include this country."),
        21602: Code(About.REQUEST, "The message is empty."),
        21606: Code(About.ACCOUNT, "The sender is not a number of this account for SMS."),
        21610: Code(About.OPT_OUT, "This person has replied STOP."),
        21611: Code(About.LIMIT, "The sender's queue at Twilio is full."),
        21612: Code(About.RECIPIENT, "Twilio has no route from this sender to this number."),
        21614: Code(About.RECIPIENT, "This number cannot receive SMS."),
        21617: Code(About.REQUEST, "The message has more than 1,600 characters."),
        21659: Code(About.ACCOUNT, "The sender is not a number of this account."),
        21660: Code(About.ACCOUNT, "The sender does not belong to this account."),
        30001: Code(About.LIMIT, "The sender's queue at Twilio is full."),
        30002: Code(About.ACCOUNT, "Twilio has suspended the account."),
        30003: Code(About.RECIPIENT, "The phone is unreachable or switched off."),
        30004: Code(About.RECIPIENT, "The person or the carrier blocks messages."),
        30005: Code(About.RECIPIENT, "The carrier does not know this number."),
        30006: Code(About.RECIPIENT, "This is a landline, or its carrier is unreachable."),
        30007: Code(About.RECIPIENT, "The carrier filtered the message."),
        30008: Code(About.RECIPIENT, "The carrier gave no reason."),
        30010: Code(About.REQUEST, "The message costs more than the session's highest price."),
        30017: Code(About.PASSING, "The carrier's network is congested."),
        30022: Code(About.LIMIT, "The carrier's limit for this sender is reached.", 60.0),
        30023: Code(About.LIMIT, "The carrier's daily limit is reached.", 3_600.0),
        30034: Code(About.ACCOUNT, "The sender is not registered for the United States."),
        63038: Code(About.LIMIT, "The account's daily limit is reached.", 3_600.0),
    },
)
"""https://www.twilio.com/docs/api/errors"""

_TOO_MANY: Final = HTTPStatus.TOO_MANY_REQUESTS
_STATES: Final = {
    "sent": ReceiptState.SENT,
    "delivered": ReceiptState.DELIVERED,
    "read": ReceiptState.READ,
    "undelivered": ReceiptState.FAILED,
    "failed": ReceiptState.FAILED,
    "canceled": ReceiptState.FAILED,
}


def _sid(pattern: str, kind: str) -> validate.Regexp:
    return validate.Regexp(pattern, error=f"Must be {kind} and 32 hexadecimal digits.")


class Settings(SmsSettings):
    """A Twilio account, and the number, name or messaging service that it sends from."""

    account_sid = fields.String(required=True, validate=_sid(r"AC[0-9a-fA-F]{32}\Z", "AC"))
    auth_token = Secret(required=True, description="Signs requests, and Twilio's to the webhook")
    messaging_service_sid = fields.String(
        load_default="",
        validate=_sid(r"(MG[0-9a-fA-F]{32})?\Z", "MG"),
        metadata={"description": "A messaging service that chooses the sender"},
    )
    base_url = BaseUrl(load_default=BASE_URL)

    @validates_schema
    def has_sender(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse an account without a sender."""
        if not (data.get("sender") or data.get("messaging_service_sid")):
            message = "Set `sender` or `messaging_service_sid`."
            raise ValidationError(message, "sender")


def is_authentic(call: WebhookCall, settings: Mapping[str, Any]) -> bool:
    """Return whether Twilio signed a form: the URL, then all fields sorted by name.

    https://www.twilio.com/docs/usage/security#validating-requests
    """
    said = "".join(f"{name}{value}" for name, value in sorted(reports.form(call.body).items()))
    key = str(settings["auth_token"]).encode()
    digest = hmac.new(key, f"{call.url}{said}".encode(), hashlib.sha1).digest()
    return call.is_signed(SIGNATURE_HEADER, base64.b64encode(digest).decode())


def parse_report(body: bytes, settings: Mapping[str, Any]) -> Report:
    """Parse a status callback or an inbound message; raises UnreadableReportError."""
    del settings
    said, report = reports.form(body), Report()
    if "Body" in said and "From" in said:
        message = reports.inbound(said.get("MessageSid", ""), said["From"], said["Body"])
        report.inbound.append(message)
    state = _STATES.get(said.get("MessageStatus", ""))
    if state and "MessageSid" in said:
        failed = state is ReceiptState.FAILED
        error = CODES.error(reports.number(said.get("ErrorCode")) or 0) if failed else None
        to = reports.digits(said.get("To", ""))
        report.words.append(Receipt(said["MessageSid"], state, recipients=(to,), error=error))
    return report


class Twilio(SmsDriver):
    """A driver for one sender of a Twilio account."""

    name: ClassVar[str] = "twilio"
    concurrency: ClassVar[int | None] = 50  # https://help.twilio.com/articles/223180028
    webhook: ClassVar[Webhook | None] = Webhook(is_authentic, parse_report)
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Open the account without any request."""
        super().__init__(account)
        settings = account.settings
        sid, base = settings["account_sid"], str(settings.get("base_url", BASE_URL)).rstrip("/")
        pair = base64.b64encode(f"{sid}:{settings['auth_token']}".encode()).decode()
        self._node = f"{base}/2010-04-01/Accounts/{sid}"
        self._messages = f"{self._node}/Messages.json"
        self._headers = (f"Authorization: Basic {pair}", FORM)
        given = {
            "MessagingServiceSid": settings.get("messaging_service_sid"),
            "From": self._sender,
            "StatusCallback": context.webhook_url(account.session_id),
        }
        self._common = urlencode({name: value for name, value in given.items() if value})

    def prepare(self, part: Part) -> bytes:
        """Render the form without the recipient."""
        return f"{self._common}&{urlencode({'Body': messages.body(part)})}&To=%2B".encode()

    def send(self, recipient: str, prepared: bytes, reference: str) -> Conversation[str]:  # noqa: ARG002 - Twilio takes no reference
        """Send one message and return Twilio's id for it; raises SendError."""
        self._check_sender(recipient)
        answer = yield post(self._messages, prepared + recipient.encode(), self._headers)
        said = reports.json_object(answer.body)
        if answer.accepted and (known_as := said.get("sid")):
            return str(known_as)
        raise _refused(answer, said)

    def check(self) -> Conversation[None]:
        """Check the account at Twilio; raises SendError if it cannot send."""
        answer = yield get(f"{self._node}.json", self._headers)
        said = reports.json_object(answer.body)
        if not answer.accepted:
            raise _refused(answer, said)
        if said.get("status") != "active":
            raise BlockedError(f"The Twilio account is {said.get('status')}.", code="account")


def _refused(answer: Answer, said: Mapping[str, Any]) -> SendError:
    """Return the error for an answer that did not accept the message."""
    code = reports.number(said.get("code"))
    is_of_server = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if code is None or (code not in CODES and (is_of_server or answer.status == _TOO_MANY)):
        return refusal(answer, str(said.get("message") or ""))
    return CODES.error(code, str(said.get("message") or ""), wait=answer.wait)
