"""What providers tell us by themselves: believed only with the session's own signature."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.base import Receipt, UnreadableReceiptError, Webhook
from service.channels.registry import NotInstalledError
from service.core.accounts import Accounts
from service.errors import ForgedWebhookError, NowhereError, UnreadableBodyError
from service.models import Session


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
) -> list[Receipt]:
    """Return the receipts in a webhook's body, to be stored; nothing is written before that.

    Raises NowhereError, ForgedWebhookError, UnreadableBodyError.
    """
    session, webhook = _session(db, session_id, accounts)
    settings = accounts.settings_of(session)
    names = {name.lower(): value for name, value in headers.items()}
    signature = names.get(webhook.signature_header.lower(), "")
    if not webhook.is_authentic(raw, signature, settings):
        raise ForgedWebhookError
    try:
        return webhook.parse(raw, settings)
    except UnreadableReceiptError as error:
        raise UnreadableBodyError("This is not what the session's provider sends.") from error


def _session(db: Db, session_id: str, accounts: Accounts) -> tuple[Session, Webhook]:
    """Return a session that is reported to; raises NowhereError for any other."""
    session = db.get(Session, session_id) if ids.is_id(session_id) else None
    if session is not None:
        with suppress(NotInstalledError):
            webhook = accounts.channels.driver_class(session.channel).webhook
            if webhook is not None:
                return session, webhook
    raise NowhereError("webhook", session_id)
