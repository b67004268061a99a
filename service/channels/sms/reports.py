"""Webhook reports of SMS gateways: forms with a few fields about one message."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from service.channels.webhooks import Inbound, UnreadableReportError, WebhookCall

_MOST_FIELDS = 100


def form(body: bytes) -> dict[str, str]:
    """Parse a URL-encoded form or query; raises UnreadableReportError."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:  # not UTF-8, or too many fields
        raise UnreadableReportError from error


def has_token(call: WebhookCall, settings: Mapping[str, Any]) -> bool:
    """Return whether a report's URL has the session's `webhook_token`."""
    token = str(settings.get("webhook_token") or "")
    said = call.query.get("token", "")
    return bool(token) and hmac.compare_digest(said.encode(), token.encode())


def json_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object of an answer, or an empty one."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def number(said: object) -> int | None:
    """Return a code given as a number or as digits; None for anything else."""
    text = str(said)[:9]
    return int(text) if text.isascii() and text.isdecimal() else None


def digits(number: str) -> str:
    """Return a number in the form in which recipients are stored."""
    return number.strip().removeprefix("+")


def inbound(message_id: str, sender: str, text: str) -> Inbound:
    """Return an inbound message to the account."""
    return Inbound(message_id, digits(sender), "text", text)
