"""Africa's Talking: bulk SMS, with delivery reports.

https://developers.africastalking.com/docs/sms/overview
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from marshmallow import Schema, fields, validate

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
from service.channels.webhooks import Receipt, ReceiptState, Report, Webhook

BASE_URL: Final = "https://api.africastalking.com"

_TAKEN: Final = frozenset({100, 101, 102})
"""Processed, sent, queued."""

CODES: Final = Codes(
    "Africa's Talking",
    {
        401: Code(About.REQUEST, "Africa's Talking held the message as a risk."),
        402: Code(About.ACCOUNT, "The sender is not registered for this account."),
        403: Code(About.RECIPIENT, "This is not a valid number."),
        404: Code(About.RECIPIENT, "This type of number is not supported."),
        405: Code(About.ACCOUNT, "The account's balance is too low."),
        406: Code(About.OPT_OUT, "This person wants no more messages from this sender."),
        407: Code(About.RECIPIENT, "There is no route to this number."),
        409: Code(About.RECIPIENT, "This number is on the carrier's do-not-disturb list."),
        500: Code(About.PASSING, "Africa's Talking had a temporary error."),
        501: Code(About.PASSING, "The carrier's gateway had a temporary error."),
        502: Code(About.RECIPIENT, "The carrier's gateway refused the message."),
    },
)
"""https://developers.africastalking.com/docs/sms/sending/bulk"""

REASONS: Final = Codes(
    "Africa's Talking",
    {
        "DeliveryFailure": Code(About.RECIPIENT, "The carrier could not deliver the message."),
        "DoNotDisturbRejection": Code(About.RECIPIENT, "This number accepts no promotions."),
        "InsufficientCredit": Code(About.RECIPIENT, "The person's account has no credit."),
        "NotNetworkSubscriber": Code(About.RECIPIENT, "The carrier does not know this number."),
        "UserAccountSuspended": Code(About.RECIPIENT, "The person's account is suspended."),
        "UserDoesNotExist": Code(About.RECIPIENT, "The carrier does not know this number."),
        "UserInBlackList": Code(About.OPT_OUT, "This person wants no messages from this sender."),
        "UserIsInactive": Code(About.RECIPIENT, "The phone is not in use."),
        "AbsentSubscriber": Code(About.RECIPIENT, "The phone was unreachable."),
        "Expired": Code(About.RECIPIENT, "The phone was unreachable for too long."),
        "Failed": Code(About.RECIPIENT, "The message was not delivered."),
        "Rejected": Code(About.RECIPIENT, "The carrier refused the message."),
    },
)
"""https://developers.africastalking.com/docs/sms/notifications"""

_STATES: Final = {
    "Sent": ReceiptState.SENT,
    "Submitted": ReceiptState.SENT,
    "Buffered": ReceiptState.SENT,
    "Success": ReceiptState.DELIVERED,
    **dict.fromkeys(("AbsentSubscriber", "Expired", "Failed", "Rejected"), ReceiptState.FAILED),
}


class Settings(SmsSettings):
    """An Africa's Talking application; `sandbox` is the one for tests."""

    username = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[A-Za-z0-9._\-]{1,64}\Z",
            error="Must have 1 to 64 characters, each an ASCII letter, a digit or one of . _ -",
        ),
    )
    api_key = Secret(required=True, description="The application's API key")
    base_url = BaseUrl(load_default=BASE_URL)


def parse_report(body: bytes, settings: Mapping[str, Any]) -> Report:
    """Parse a delivery report or an inbound message; raises UnreadableReportError."""
    del settings
    said, report = reports.form(body), Report()
    if "text" in said and "from" in said:
        report.inbound.append(reports.inbound(said.get("id", ""), said["from"], said["text"]))
    status = said.get("status", "")
    if status in _STATES and "id" in said:
        failed = _STATES[status] is ReceiptState.FAILED
        to = reports.digits(said.get("phoneNumber", ""))
        error = REASONS.error(said.get("failureReason") or status) if failed else None
        report.words.append(Receipt(said["id"], _STATES[status], recipients=(to,), error=error))
    return report


class AfricasTalking(SmsDriver):
    """A driver for one application of Africa's Talking."""

    name: ClassVar[str] = "africas_talking"
    concurrency: ClassVar[int | None] = 32
    webhook: ClassVar[Webhook | None] = Webhook(reports.has_token, parse_report)
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:  # noqa: ARG002 - as all
        """Open the account without any request."""
        super().__init__(account)
        settings = account.settings
        base = str(settings.get("base_url", BASE_URL)).rstrip("/")
        who = urlencode({"username": settings["username"]})
        self._messages = f"{base}/version1/messaging"
        self._user = f"{base}/version1/user?{who}"
        sender = urlencode({"from": self._sender}) if self._sender else ""
        self._common = f"{who}&{sender}" if sender else who
        self._headers = (f"apiKey: {settings['api_key']}", "Accept: application/json", FORM)

    def prepare(self, part: Part) -> bytes:
        """Render the form without the recipient."""
        return f"{self._common}&{urlencode({'message': messages.body(part)})}&to=%2B".encode()

    def send(self, recipient: str, prepared: bytes, reference: str) -> Conversation[str]:  # noqa: ARG002 - it takes no reference
        """Send one message and return its id; raises SendError."""
        self._check_sender(recipient)
        answer = yield post(self._messages, prepared + recipient.encode(), self._headers)
        said = _entry(answer)
        code = reports.number(said.get("statusCode"))
        if answer.accepted and code in _TAKEN and said.get("messageId"):
            return str(said["messageId"])
        raise refusal(answer) if code is None else CODES.error(code, str(said.get("status") or ""))

    def check(self) -> Conversation[None]:
        """Check the application; raises SendError if it cannot send."""
        answer = yield get(self._user, self._headers)
        if not answer.accepted:
            raise refusal(answer)
        if "UserData" not in reports.json_object(answer.body):
            reason = "This server does not answer like Africa's Talking. Check the base URL."
            raise BlockedError(reason, code="not_africas_talking")


def _entry(answer: Answer) -> Mapping[str, Any]:
    """Return an answer's entry for its only recipient; raises SendError if it has none."""
    data = reports.json_object(answer.body).get("SMSMessageData")
    told = data if isinstance(data, dict) else {}
    recipients = told.get("Recipients")
    if isinstance(recipients, list) and recipients and isinstance(recipients[0], dict):
        return recipients[0]
    raise _refused(answer, str(told.get("Message") or ""))


def _refused(answer: Answer, said: str) -> SendError:
    """Return the error for an answer without recipients: its message has the reason."""
    if "InvalidSenderId" in said:
        return CODES.error(402)
    return refusal(answer, said)
