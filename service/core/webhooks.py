"""Webhooks: verifies and reads the reports that providers send."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.base import Report, UnreadableReportError, Webhook
from service.channels.registry import NotInstalledError
from service.core.accounts import Accounts
from service.errors import (
    ForgedWebhookError,
    NowhereError,
    TooLargeError,
    UnreadableBodyError,
)
from service.models import Session

MOST_WORDS: Final = 5_000
"""The most reports in one webhook. Meta sends up to 1,000."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of one webhook. Meta's have up to 3 MB
(https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks)."""


def answer_challenge(
    db: Db, session_id: str, query: Mapping[str, str], *, accounts: Accounts
) -> str:
    """Return the answer to the provider's challenge when a webhook is set up.

    Raises NowhereError, ForgedWebhookError.
    """
    session, webhook = _session(db, session_id, accounts)
    said = webhook.challenge and webhook.challenge(query, accounts.settings_of(session))
    if said is None:
        raise ForgedWebhookError
    return said


def read(
    db: Db, session_id: str, raw: bytes, headers: Mapping[str, str], *, accounts: Accounts
) -> tuple[Session, Report]:
    """Verify and read a webhook, without writing anything; return its session and its report.

    Raises NowhereError, ForgedWebhookError, UnreadableBodyError, TooLargeError.
    """
    # Check the size before the signature: computing it over any length would be an attack.
    if len(raw) > MOST_BYTES:
        raise TooLargeError(f"A webhook may have at most {MOST_BYTES:,} bytes.")
    session, webhook = _session(db, session_id, accounts)
    settings = accounts.settings_of(session)
    names = {name.lower(): value for name, value in headers.items()}
    signature = names.get(webhook.signature_header.lower(), "")
    if not webhook.is_authentic(raw, signature, settings):
        raise ForgedWebhookError
    try:
        report = webhook.parse(raw, settings)
    except UnreadableReportError as error:
        raise UnreadableBodyError("The body is not a report of the session's provider.") from error
    if len(report) > MOST_WORDS:
        raise TooLargeError(f"A webhook may report on at most {MOST_WORDS:,} messages.")
    return session, report


def _session(db: Db, session_id: str, accounts: Accounts) -> tuple[Session, Webhook]:
    """Return a session that receives webhooks; raises NowhereError for others."""
    session = db.get(Session, session_id) if ids.is_id(session_id) else None
    if session is not None:
        with suppress(NotInstalledError):
            webhook = accounts.channels.driver_class(session.channel).webhook
            if webhook is not None:
                return session, webhook
    raise NowhereError("webhook", session_id)
