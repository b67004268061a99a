"""Request ids, access logs and common headers."""

from __future__ import annotations

import re
import time

import structlog
from flask import Flask, Response, g
from werkzeug.http import http_date

from service import ids
from service.blueprints import limiting
from service.blueprints.context import known_caller
from service.blueprints.requests import request
from service.core import tokens
from service.database import now_ms

log = structlog.get_logger(__name__)

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
    request.drain()
    response.headers["X-Request-Id"] = g.request_id
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    limiting.show_allowance(response)
    if caller is not None:
        response.headers.setdefault("Cache-Control", "no-store")
        _warn_of_expiry(response, caller.expires_at)
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


def _warn_of_expiry(response: Response, expires_at: int | None) -> None:
    """Add `Token-Expires` if the caller's token expires soon."""
    if expires_at is not None and tokens.expires_soon(expires_at, now=now_ms()):
        response.headers["Token-Expires"] = http_date(expires_at / 1000)


def _path() -> str:
    """Return the path for the log: without the query, phone numbers and names."""
    path = _NUMBER.sub("…", request.path)
    for value in (request.view_args or {}).values():
        if not ids.is_id(str(value)):
            path = path.replace(f"/{value}", "/…")
    return path[:_LONGEST_PATH]
