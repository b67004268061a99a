"""Request ids, access logs and common headers."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from functools import partial

import structlog
from flask import Flask, Response, g
from werkzeug.http import http_date

from service import ids
from service.blueprints import limiting
from service.blueprints.context import crier, known_caller
from service.blueprints.requests import request
from service.core import audit, moments, token_uses, tokens
from service.core.callers import Caller
from service.database import OUT_OF_REACH, Database, now_ms

log = structlog.get_logger(__name__)

_noting = threading.Lock()
_SANE_ID = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")
_LONGEST_PATH = 200
_NUMBER = re.compile(r"(?<=/)\+?\d{7,15}(?=/|$)")


def register(app: Flask) -> None:
    """Register the hooks that run before and after every request."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.began = time.perf_counter()
    g.request_id = given if _SANE_ID.fullmatch(given) else ids.new()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _finish(response: Response) -> Response:
    caller = known_caller()
    response.headers["X-Request-Id"] = g.request_id
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    limiting.show_allowance(response)
    if caller is not None:
        response.headers.setdefault("Cache-Control", "no-store")
        _warn_of_expiry(response, caller)
        if caller.unnoted:
            response.call_on_close(partial(_note_uses, crier().database, caller))
    log.info(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        path=_path(),
        status=response.status_code,
        ms=round((time.perf_counter() - g.began) * 1000, 1),
        client=caller.client_id if caller else None,
        token=caller.token_id if caller else None,
    )
    return response


def _warn_of_expiry(response: Response, caller: Caller) -> None:
    """Add `Token-Expires` if the caller's token expires soon, and log it once a day."""
    now, expires_at = now_ms(), caller.expires_at
    if expires_at is None or not tokens.expires_soon(expires_at, now=now):
        return
    response.headers["Token-Expires"] = http_date(expires_at / 1000)
    if any(token_uses.is_first_today(token, now=now) for token in caller.unnoted):
        log.warning(
            "a token expires soon",
            client=caller.client_id,
            token=caller.token_id,
            expires_at=moments.show(expires_at),
        )


def _note_uses(database: Database, caller: Caller) -> None:
    """Note when the caller's tokens were used, after the answer: at most every ten minutes.

    One thread at a time: while the database takes no writes, the others can still read.
    """
    if not _noting.acquire(blocking=False):
        return
    try:
        with suppress(*OUT_OF_REACH), audit.doing(None), database.writing() as db:
            token_uses.note(db, [token.id for token in caller.unnoted], now=now_ms())
    finally:
        _noting.release()


def _path() -> str:
    """Return the path for the log: without the query, phone numbers and names."""
    path = _NUMBER.sub("…", request.path)
    for value in (request.view_args or {}).values():
        if not ids.is_id(str(value)):
            path = path.replace(f"/{value}", "/…")
    return path[:_LONGEST_PATH]
