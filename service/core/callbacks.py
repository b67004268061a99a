"""Operations on callbacks, and on the events that were posted to them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.channels.addresses import forbidden, private_address
from service.channels.workers import Workers
from service.config import Settings
from service.core import keys, outbox, owned, paging
from service.core.vault import Vault
from service.database import now_ms
from service.errors import InvalidError, NotFoundError
from service.models import Callback, CallbackEvent, EventStatus

_RANDOM_BYTES: Final = 32
_PREFIX: Final = "whsec_"
_LOOKING: Final = Workers("callbacks", 4)

_LOOK_UP: Final = 3.0
"""Seconds that the name of a callback's host may take to be looked up."""


def check_address(url: str, settings: Settings) -> None:
    """Raise InvalidError for a URL whose host is private, unless the operator allows that.

    Call it outside any transaction: it waits up to three seconds for the resolver. A name without
    an answer by then passes, because every request checks the name again.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidError(errors={"url": [f"Names no host: {error}."]}) from error
    if not host or port == 0:
        raise InvalidError(errors={"url": ["Names no host, or the port 0."]})
    if settings.private_addresses:
        return
    address = ""
    with suppress(TimeoutError):
        address = _LOOKING.submit(partial(private_address, host)).result(_LOOK_UP)
    if address:
        raise InvalidError(errors={"url": [forbidden(address).reason]})


def create(
    db: Db, client_id: str, fields: Mapping[str, Any], *, vault: Vault
) -> tuple[Callback, str]:
    """Create a callback from `url` and `events`; return it with its secret."""
    callback = Callback(client_id=client_id, url=fields["url"], events=fields["events"])
    secret = _seal(db, callback, vault)
    db.add(callback)
    db.flush()
    outbox.look_again(db)
    return callback, secret


def renew_secret(db: Db, client_id: str, callback_id: str, *, vault: Vault) -> tuple[Callback, str]:
    """Give a callback a new secret, which signs from now on; raises NotFoundError."""
    callback = get(db, client_id, callback_id)
    secret = _seal(db, callback, vault)
    db.flush()
    return callback, secret


def get(db: Db, client_id: str, callback_id: str) -> Callback:
    """Return a client's callback; raises NotFoundError."""
    return owned.get(db, Callback, client_id, callback_id)


def page(db: Db, client_id: str, request: paging.PageRequest) -> paging.Page[Callback]:
    """Return one page of a client's callbacks."""
    return paging.fetch(db, owned.mine(Callback, client_id), Callback.id, request)


def update(db: Db, client_id: str, callback_id: str, fields: Mapping[str, Any]) -> Callback:
    """Change the given fields of a callback; `paused` pauses or resumes it.

    Raises NotFoundError and StaleVersionError.
    """
    callback = get(db, client_id, callback_id)
    owned.check_version(callback, fields)
    for name in ("url", "events"):
        if name in fields:
            setattr(callback, name, fields[name])
    if "paused" in fields:
        _pause(callback, paused=fields["paused"])
    db.flush()
    outbox.look_again(db)
    return callback


def delete(db: Db, client_id: str, callback_id: str) -> Callback:
    """Delete a callback with its events; raises NotFoundError."""
    callback = get(db, client_id, callback_id)
    db.delete(callback)
    db.flush()
    outbox.look_again(db)
    return callback


def page_of_events(
    db: Db,
    client_id: str,
    callback_id: str,
    status: EventStatus | None,
    request: paging.PageRequest,
) -> paging.Page[CallbackEvent]:
    """Return one page of a callback's events; raises NotFoundError."""
    get(db, client_id, callback_id)
    mine = select(CallbackEvent).where(CallbackEvent.callback_id == callback_id)
    if status is not None:
        mine = mine.where(CallbackEvent.status == status)
    return paging.fetch(db, mine, CallbackEvent.id, request)


def get_event(db: Db, client_id: str, callback_id: str, event_id: str) -> CallbackEvent:
    """Return an event of a callback; raises NotFoundError."""
    get(db, client_id, callback_id)
    event = db.get(CallbackEvent, event_id)
    if event is None or event.callback_id != callback_id:
        raise NotFoundError("event", event_id)
    return event


def resend(db: Db, client_id: str, callback_id: str, event_id: str, *, now: int) -> CallbackEvent:
    """Post an event once more, under its own id; raises NotFoundError."""
    event = get_event(db, client_id, callback_id, event_id)
    outbox.queue(db, [(callback_id, event.subject)], now=now)
    event.status, event.expires_at = EventStatus.WAITING, now + outbox.TRIED_FOR
    event.delivered_at = event.problem = None
    db.flush()
    return event


def headers(secret: str, event_id: str, body: str, *, now: int) -> list[str]:
    """Return the headers of Standard Webhooks (https://www.standardwebhooks.com)."""
    seconds = now // 1000
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{event_id}.{seconds}.{body}".encode()
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return [
        "Content-Type: application/json",
        f"webhook-id: {event_id}",
        f"webhook-timestamp: {seconds}",
        f"webhook-signature: v1,{signature}",
    ]


def _seal(db: Db, callback: Callback, vault: Vault) -> str:
    secret = _PREFIX + base64.b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()
    keys.seal(db, callback, {"secret": secret}, vault)
    return secret


def _pause(callback: Callback, *, paused: bool) -> None:
    callback.failing_since = None
    callback.paused_at = now_ms() if paused else None
    callback.reason = "Paused by the client." if paused else None
