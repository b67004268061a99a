"""What providers tell us by themselves: believed only with the session's own signature."""

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
"""Words in one webhook; Meta batches up to 1,000."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one webhook; Meta's have up to 3 MB
(https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks)."""


def answer_challenge(
    db: Db, session_id: str, query: Mapping[str, str], *, accounts: Accounts
) -> str:
    """Return what the provider wants to hear while a webhook is set up.

    Raises NowhereError, ForgedWebhookError.
    """
    session, webhook = _session(db, session_id, accounts)
    said = webhook.challenge and webhook.challenge(query, accounts.settings_of(session))
    if said is None:
        raise ForgedWebhookError
    return said


def read(
    db: Db, session_id: str, raw: bytes, headers: Mapping[str, str], *, accounts: Accounts
) -> Report:
    """Return what a webhook's body says, to be stored; nothing is written before that.

    Raises NowhereError, ForgedWebhookError, UnreadableBodyError, TooLargeError.
    """
    # Before the signature is worked out, which a stranger could have us do over any length.
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
        raise UnreadableBodyError("This is not what the session's provider sends.") from error
    if len(report.words) > MOST_WORDS:
        raise TooLargeError(f"A webhook may report on at most {MOST_WORDS:,} messages.")
    return report


def _session(db: Db, session_id: str, accounts: Accounts) -> tuple[Session, Webhook]:
    """Return a session that is reported to; raises NowhereError for any other."""
    session = db.get(Session, session_id) if ids.is_id(session_id) else None
    if session is not None:
        with suppress(NotInstalledError):
            webhook = accounts.channels.driver_class(session.channel).webhook
            if webhook is not None:
                return session, webhook
    raise NowhereError("webhook", session_id)
