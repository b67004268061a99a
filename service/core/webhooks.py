"""Webhooks: verifies and reads the reports that providers send."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.registry import NotInstalledError
from service.channels.webhooks import Report, UnreadableReportError, Webhook, WebhookCall
from service.core import inbox_sessions
from service.core.accounts import Accounts
from service.core.inbox_sessions import InboxSession
from service.core.vault import SealedError
from service.errors import (
    ForgedWebhookError,
    NowhereError,
    TooLargeError,
    UnreadableBodyError,
)

MOST_WORDS: Final = 5_000
"""The most reports in one webhook. Meta sends up to 1,000."""

MOST_CHOICES: Final = 500
"""The most people with another address or preference in one webhook: each takes some queries."""

_NAMED: Final = re.compile(rb'"phone_number_id"\s*:\s*"?([0-9]{1,32})')
"""The phone numbers in the webhook of an app, found before anything is parsed."""

_MOST_NAMED: Final = 1_000
"""The most phone numbers that are looked up for one webhook."""

_MOST_HASHED: Final = 256 * 1024 * 1024
"""Bytes that are hashed to find out who signed a webhook: a quarter of a second."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of one webhook. Meta's have up to 3 MB
(https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks)."""


def answer_challenge(
    db: Db, session_id: str, query: Mapping[str, str], *, accounts: Accounts
) -> str:
    """Return the answer to the provider's challenge when a webhook is set up.

    Empty if the provider has no challenge. Raises NowhereError, ForgedWebhookError.
    """
    session, webhook = _session(db, session_id, accounts)
    if webhook.challenge is None:
        return ""
    said = webhook.challenge(query, accounts.settings_of(session))
    if said is None:
        raise ForgedWebhookError
    return said


def read(
    db: Db, session_id: str, call: WebhookCall, *, accounts: Accounts
) -> tuple[InboxSession, Report]:
    """Verify and read a webhook, without writing anything; return its session and its report.

    Raises NowhereError, ForgedWebhookError, UnreadableBodyError, TooLargeError.
    """
    # Check the size before the signature: computing it over any length would be an attack.
    _check_size(call)
    session, webhook = _session(db, session_id, accounts)
    settings = accounts.settings_of(session)
    if not webhook.is_authentic(call, settings):
        raise ForgedWebhookError
    return session, _parsed(webhook, call, settings)


def answer_app_challenge(
    db: Db, channel: str, query: Mapping[str, str], *, accounts: Accounts
) -> str:
    """Return the answer to the challenge for the webhook of an app, which all its sessions share.

    Raises ForgedWebhookError.
    """
    webhook = accounts.channels.driver_class(channel).webhook
    for session in inbox_sessions.on(db, channel):
        if webhook and webhook.challenge:
            said = webhook.challenge(query, _opened(accounts, session))
            if said is not None:
                return said
    raise ForgedWebhookError


def read_of_app(
    db: Db, channel: str, call: WebhookCall, *, accounts: Accounts
) -> list[tuple[InboxSession, Report]]:
    """Verify and read the webhook of an app; return each session that it speaks of, and its report.

    Raises ForgedWebhookError unless a session of the channel has the secret that signed it,
    UnreadableBodyError, TooLargeError.
    """
    _check_size(call)
    webhook = accounts.channels.driver_class(channel).webhook
    if webhook is None:
        raise NowhereError("webhook", channel)
    found = {match[1].decode(): None for match in _NAMED.finditer(call.body)}
    named = list(islice(found, _MOST_NAMED))
    signers = _signers(inbox_sessions.on(db, channel, named), webhook, call, accounts)
    if named and not signers:
        # An app may have numbers that no session has: what it says of them is passed over.
        signers = _signers(inbox_sessions.on(db, channel), webhook, call, accounts)
    if not signers:
        raise ForgedWebhookError
    return [(session, _parsed(webhook, call, settings)) for session, settings in signers]


def _signers(
    sessions: Iterable[InboxSession], webhook: Webhook, call: WebhookCall, accounts: Accounts
) -> list[tuple[InboxSession, Mapping[str, Any]]]:
    """Return the sessions, with their settings, whose secret has signed a webhook.

    Each secret is tried once: the sessions of an app share it. A stranger's report is compared with
    so many secrets only as a quarter of a second allows, some 60 if it has 4 MB.
    """
    verdicts: dict[str, bool] = {}
    signers = []
    for session in sessions:
        settings = _opened(accounts, session)
        secret = str(settings.get(webhook.signed_with) or "")
        if secret not in verdicts and len(verdicts) * len(call.body) <= _MOST_HASHED:
            verdicts[secret] = webhook.is_authentic(call, settings)
        if verdicts.get(secret):
            signers.append((session, settings))
    return signers


def _opened(accounts: Accounts, session: InboxSession) -> Mapping[str, Any]:
    """Return a session's settings, none where its secrets cannot be decrypted any more."""
    try:
        return accounts.settings_of(session)
    except SealedError:
        return {}


def _check_size(call: WebhookCall) -> None:
    if len(call.body) > MOST_BYTES:
        raise TooLargeError(f"A webhook may have at most {MOST_BYTES:,} bytes.")


def _parsed(webhook: Webhook, call: WebhookCall, settings: Mapping[str, Any]) -> Report:
    try:
        report = webhook.parse(call.body, settings)
    except UnreadableReportError as error:
        raise UnreadableBodyError("The body is not a report of the session's provider.") from error
    sizes = (len(report), len(report.people), len(report.templates))
    choices = max(len(report.moves), len(report.preferences))
    if max(sizes) > MOST_WORDS or choices > MOST_CHOICES:
        raise TooLargeError(f"A webhook may report on at most {MOST_WORDS:,} messages.")
    return report


def _session(db: Db, session_id: str, accounts: Accounts) -> tuple[InboxSession, Webhook]:
    """Return a session that receives webhooks; raises NowhereError for others."""
    session = inbox_sessions.find(db, session_id) if ids.is_id(session_id) else None
    if session is not None:
        with suppress(NotInstalledError):
            webhook = accounts.channels.driver_class(session.channel).webhook
            if webhook is not None:
                return session, webhook
    raise NowhereError("webhook", session_id)
