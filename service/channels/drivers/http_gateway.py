"""Any SMS gateway with an HTTP API, configured by a description in the session.

`docs/gateways/` has descriptions of gateways. The idea is RapidPro's external channel
(https://help.nyaruka.com/en/article/external-api-channels).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast
from urllib.parse import quote, urlencode

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.channels.answers import Answer, refusal
from service.channels.base import Account, DriverContext
from service.channels.content import Part
from service.channels.errors import SendError, UncertainError
from service.channels.settings import BaseUrl
from service.channels.sms import (
    batches,
    described_reports,
    descriptions,
    messages,
    reports,
    segments,
)
from service.channels.sms.batches import Batch, BatchSchema, Outcome
from service.channels.sms.driver import SmsDriver
from service.channels.sms.messages import FORM, SmsSettings
from service.channels.steps import BatchEntry, Conversation, Request, get, post
from service.channels.webhooks import Webhook

_JSON: Final = "Content-Type: application/json"
_PATH: Final = r"(/[!-~]{0,1024})?\Z"


class Settings(SmsSettings):
    """The description of a gateway: its URL, its requests and its answers."""

    base_url = BaseUrl(required=True)
    path = fields.String(load_default="", validate=validate.Regexp(_PATH))
    format = fields.String(
        load_default="json",
        validate=validate.OneOf(("json", "form", "query")),
        metadata={"description": "The encoding of the body; `query`: in the URL of a GET"},
    )
    headers = descriptions.HEADERS
    body = fields.Dict(keys=fields.String(), required=True, validate=descriptions.small)
    plus = fields.Boolean(load_default=False, metadata={"description": "Write numbers with a +"})
    alphabets = descriptions.ALPHABETS
    accepted = fields.Nested(descriptions.ConditionSchema)
    id = descriptions.Place(metadata={"description": "Where an answer has the message's id"})
    code = descriptions.Place(metadata={"description": "Where an answer has the error's code"})
    reason = descriptions.Place(metadata={"description": "Where an answer has the error's text"})
    codes = descriptions.CODES
    batch = fields.Nested(BatchSchema)
    receipt = fields.Nested(descriptions.ReceiptSchema)
    inbound = fields.Nested(descriptions.InboundSchema)
    check = fields.String(load_default="", validate=validate.Regexp(_PATH))
    secrets = descriptions.SECRETS

    @validates_schema
    def knows_placeholders(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse unknown placeholders, and a body without recipient or text."""
        known = descriptions.PLACEHOLDERS | data["secrets"].keys()
        for field in ("path", "headers", "body", "check"):
            if unknown := sorted(set(descriptions.names(data[field])) - known):
                message = f"Unknown placeholder {{{{{unknown[0]}}}}}. Add its value to `secrets`."
                raise ValidationError(message, field)
        if not {"to", "text"} <= {*descriptions.names([data["body"], data["path"]])}:
            message = "Must contain {{to}} and {{text}}."
            raise ValidationError(message, "body")
        if data.get("batch"):
            batches.check(data)


class HttpGateway(SmsDriver):
    """A driver for one account of a described gateway."""

    name: ClassVar[str] = "http_gateway"
    concurrency: ClassVar[int | None] = 16
    webhook: ClassVar[Webhook | None] = Webhook(reports.has_token, described_reports.parse)
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Open the account without any request."""
        super().__init__(account)
        settings = account.settings
        webhook = context.webhook_url(account.session_id)
        token = quote(str(settings.get("webhook_token") or ""))
        self._values = {
            **(settings.get("secrets") or {}),
            "sender": self._sender,
            "webhook": webhook and f"{webhook}?token={token}",
        }
        self._base = str(settings["base_url"]).rstrip("/")
        self._format = settings.get("format") or "json"
        kind = {"json": (_JSON,), "form": (FORM,)}.get(self._format, ())
        given = descriptions.fill(settings.get("headers") or {}, {**self._values, **_NOBODY})
        self._headers = (*(f"{name}: {value}" for name, value in given.items()), *kind)
        self._codes = descriptions.codes(settings.get("codes") or {})
        described = settings.get("batch")
        self._batch = Batch(described, settings["body"], self._codes) if described else None

    def prepare(self, part: Part) -> str:
        """Return the text of a part."""
        return messages.body(part)

    def send(self, recipient: str, prepared: str, reference: str) -> Conversation[str]:
        """Send one message and return the gateway's id for it; raises SendError."""
        self._check_sender(recipient)
        number = f"+{recipient}" if self._settings.get("plus") else recipient
        alphabet = segments.coding_of(prepared).alphabet
        message = {
            "to": number,
            "text": prepared,
            "reference": reference,
            "alphabet": (self._settings.get("alphabets") or {}).get(alphabet, alphabet),
        }
        values = {**self._values, **message}
        if self._batch:
            key = (self, *self._batch.key(values))
            entry = BatchEntry(key, recipient, self._batch.most, values, self._send_batch)
            known_as: str = yield entry
            return known_as
        answer = yield self._request(values, descriptions.fill(self._settings["body"], values))
        said = _read(answer.body)
        if not (answer.accepted and descriptions.holds(said, self._settings.get("accepted"))):
            raise self._refused(answer, said)
        at = self._settings.get("id")
        if not at:
            return reference
        if known_as := descriptions.find(said, at):
            return known_as
        raise UncertainError("The gateway's answer has no message id.", code="no_id")

    def _send_batch(self, messages: list[Mapping[str, str]]) -> Conversation[list[Outcome]]:
        """Send messages in one request; return the result of each. Raises SendError for all."""
        batch = cast("Batch", self._batch)
        answer = yield self._request(messages[0], batch.body(messages))
        said = _read(answer.body)
        if not (answer.accepted and descriptions.holds(said, self._settings.get("accepted"))):
            raise self._refused(answer, said)
        return batch.outcomes(said, messages)

    def check(self) -> Conversation[None]:
        """Send the description's check request, if any; raises SendError if it is refused."""
        path = self._settings.get("check")
        if path:
            url = self._base + descriptions.fill(path, {**self._values, **_NOBODY}, quote)
            answer = yield get(url, self._headers)
            if not answer.accepted:
                raise self._refused(answer, _read(answer.body))

    def _request(self, values: Mapping[str, str], body: Any) -> Request:
        url = self._base + descriptions.fill(self._settings.get("path") or "", values, quote)
        if self._format == "query":
            asked = get(f"{url}?{urlencode(body)}", self._headers)
            return asked._replace(once=True)
        encoded = json.dumps(body) if self._format == "json" else urlencode(body)
        return post(url, encoded.encode(), self._headers)

    def _refused(self, answer: Answer, said: Any) -> SendError:
        """Return the error for an answer that did not accept the message."""
        reason = descriptions.find(said, self._settings.get("reason") or "-")
        code = descriptions.find(said, self._settings.get("code") or "-")
        if code in self._codes or (code and answer.accepted):
            return self._codes.error(code, reason, wait=answer.wait)
        return refusal(answer, reason)


_NOBODY: Final = dict.fromkeys(("to", "text", "reference", "alphabet"), "")


def _read(body: bytes) -> Any:
    """Return an answer's JSON, or its text if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace").strip()
