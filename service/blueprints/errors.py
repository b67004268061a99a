"""Error handlers: turn every exception into the same envelope."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Mapping
from itertools import islice
from typing import Any

import structlog
from flask import Flask, jsonify, request
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.wrappers import Response

from service.connections import GivenUpError
from service.database import OUT_OF_REACH, lacks_tables
from service.errors import (
    BusyError,
    DiskError,
    LimitError,
    NotMigratedError,
    ServiceError,
    StaleVersionError,
    UnreadableBodyError,
)
from service.metrics import meters
from service.schemas import wordings

log = structlog.get_logger(__name__)

_SENTENCES = {
    404: "This URL does not exist.",
    405: "This URL does not support this method.",
    413: "The request is too large.",
}
_MOST_SHOWN = 1_000
"""The most errors in one answer. A body has room for a million."""

_LONGEST_NAME = 200
_LONGEST_SENTENCE = 2_000
"""The most characters of a field's name and of a reason: both may repeat the client's input."""

_OURS = frozenset({"content-type", "content-length"})


def register(app: Flask) -> None:
    """Register the error handlers."""
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(HTTPException, http_error)
    for busy in OUT_OF_REACH:
        app.register_error_handler(busy, _busy)
    app.register_error_handler(ProgrammingError, _programming)
    app.register_error_handler(StaleDataError, _stale)
    app.register_error_handler(OSError, _broken)
    for broken in (ParseException, ClientDisconnected):
        app.register_error_handler(broken, _broken_off)
    app.register_error_handler(Exception, _unexpected)


def failure(
    status: int,
    message: str,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the envelope of an error."""
    some = islice((errors or {}).items(), _MOST_SHOWN)
    shown = {_cut(name, _LONGEST_NAME): _shortened(reasons) for name, reasons in some}
    body = {"status": False, "message": _shortened(message), "data": None, "errors": shown}
    response = jsonify(body)
    response.status_code = status
    response.headers.extend(headers or {})
    return response


def _shortened(said: Any) -> Any:
    """Shorten long sentences and lists of them."""
    if isinstance(said, str):
        return _cut(said, _LONGEST_SENTENCE)
    return [_shortened(each) for each in said] if isinstance(said, list) else said


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def http_error(error: HTTPException) -> Response:
    """Answer Werkzeug's exceptions, with their headers, such as `Allow`."""
    original = error.get_response()
    if error.code is None or error.code < 400:  # noqa: PLR2004 - a redirect is no failure
        return original
    headers = {name: value for name, value in original.headers if name.lower() not in _OURS}
    message = _SENTENCES.get(error.code) or error.description or error.name
    return failure(error.code, message, headers=headers)


def _service_error(error: ServiceError) -> Response:
    if isinstance(error, LimitError):
        meters.refused(error.limit)
    return failure(error.status, error.message, error.errors, error.headers)


def _programming(error: ProgrammingError) -> Response:
    return _busy(error) if lacks_tables(error) else _unexpected(error)


def _busy(error: Exception) -> Response:
    if lacks_tables(error):
        log.error("database schema of another version: see /readyz", cause=str(error.__cause__))
        return _service_error(NotMigratedError())
    log.warning("database unreachable", error=type(error).__name__, cause=str(error.__cause__))
    return _service_error(BusyError())


def _stale(_error: StaleDataError) -> Response:
    return _service_error(StaleVersionError())


def _broken(error: OSError) -> Response:
    if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        return _unexpected(error)
    log.error("the disk cannot be written", error=str(error))
    return _service_error(DiskError())


def _broken_off(error: Exception) -> Response:
    """Answer a request whose body ends early or arrives too late while a view reads it."""
    if isinstance(error, GivenUpError):
        return failure(error.status, error.sentence, headers=error.headers)
    sentence = wordings.CUT_OFF
    return _service_error(UnreadableBodyError(sentence, errors={"body": [sentence]}))


def _unexpected(error: Exception) -> Response:
    """Answer a bug: log the traceback, and give the client a reference to it."""
    reference = secrets.token_hex(4)
    log.error("unexpected error", reference=reference, method=request.method, exc_info=error)
    return failure(
        500,
        "An unexpected error occurred. The operator can find it in the log by the reference"
        f" {reference}.",
        {"reference": [reference]},
    )
