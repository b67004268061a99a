"""Pages of other origins that call the API from a browser (CORS), where the operator allows it.

Whoever calls sends a token. No cookie is ever allowed along: there is no
`Access-Control-Allow-Credentials`. See https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

from flask import Flask, Response, current_app

from service.blueprints.api import is_described
from service.blueprints.context import crier
from service.blueprints.requests import request

_ACCEPTED = "Authorization, Content-Type, Idempotency-Key, X-Refresh, X-Request-Id"
"""Headers that a page may send; the guide's own client sends `x-refresh`."""

_EXPOSED = "Link, Retry-After, WWW-Authenticate, X-Pagination, X-Request-Id"
_SECONDS = "600"
"""How long a browser may remember what it was told: Chromium keeps to two hours at most."""


def register(app: Flask) -> None:
    """Add to each answer of the API what lets a page of an allowed origin read it."""
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
    """Tell whether an address is of the API or of nothing: the metrics are no page's business."""
    rule = request.url_rule
    return rule is None or is_described(current_app.view_functions[rule.endpoint])
