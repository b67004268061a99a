"""CORS: lets web pages of allowed origins call the API.

Callers send a token. Cookies are never allowed: there is no `Access-Control-Allow-Credentials`.
See https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

from flask import Flask, Response, current_app

from service.blueprints.context import crier
from service.blueprints.facts import is_described
from service.blueprints.requests import request

_ACCEPTED = "Authorization, Content-Type, Idempotency-Key, X-Refresh, X-Request-Id"
"""Headers that a page may send. The guide's client sends `x-refresh`."""

_EXPOSED = (
    "Link, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Pagination, X-Request-Id"
)
_SECONDS = "600"
"""Seconds for which a browser may cache a preflight; Chromium's limit."""


def register(app: Flask) -> None:
    """Add CORS headers to the answers of the API."""
    app.after_request(_allow)


def _allow(response: Response) -> Response:
    allowed = crier().settings.origins
    if not allowed or not _is_of_the_api():
        return response
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if not origin or not allowed & {origin, "*"}:
        return response
    response.headers["Access-Control-Allow-Origin"] = origin if origin in allowed else "*"
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = _ACCEPTED
        response.headers["Access-Control-Max-Age"] = _SECONDS
    return response


def _is_of_the_api() -> bool:
    """Return whether a URL is part of the API, or unknown. Pages may not read the metrics."""
    rule = request.url_rule
    return rule is None or is_described(current_app.view_functions[rule.endpoint])
