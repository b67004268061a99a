"""From an exception to its answer: the same envelope for whatever goes wrong."""

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
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from service.database import OUT_OF_REACH, lacks_tables
from service.errors import (
    BusyError,
    FullDiskError,
    NotMigratedError,
    ServiceError,
    StaleVersionError,
    UnreadableBodyError,
)

log = structlog.get_logger(__name__)

_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request is larger than this service accepts.",
}
_MOST_SHOWN = 1_000
"""The most faults that one answer names: nobody reads on, and a body has room for a million."""

_LONGEST_NAME = 200
_LONGEST_SENTENCE = 2_000
"""The most characters of a field's name and of a reason: either may repeat what came in."""

_OURS = frozenset({"content-type", "content-length"})


def register(app: Flask) -> None:
    """Let every exception be answered in the envelope."""
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(HTTPException, http_error)
    for busy in OUT_OF_REACH:
        app.register_error_handler(busy, _busy)
    app.register_error_handler(ProgrammingError, _programming)
    app.register_error_handler(StaleDataError, _stale)
    app.register_error_handler(OSError, _broken)
    app.register_error_handler(ParseException, _broken_off)
    app.register_error_handler(Exception, _unexpected)


def failure(
    status: int,
    message: str,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the envelope of a failure."""
    some = islice((errors or {}).items(), _MOST_SHOWN)
    shown = {_cut(name, _LONGEST_NAME): _shortened(reasons) for name, reasons in some}
    body = {"status": False, "message": _shortened(message), "data": None, "errors": shown}
    response = jsonify(body)
    response.status_code = status
    response.headers.extend(headers or {})
    return response


def _shortened(said: Any) -> Any:
    """Return a sentence, or sentences, without what is too long for anybody to read."""
    if isinstance(said, str):
        return _cut(said, _LONGEST_SENTENCE)
    return [_shortened(each) for each in said] if isinstance(said, list) else said


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def http_error(error: HTTPException) -> Response:
    """Answer what Werkzeug raises, with the headers it wants, such as `Allow`."""
    original = error.get_response()
    if error.code is None or error.code < 400:  # noqa: PLR2004 - a redirect is no failure
        return original
    headers = {name: value for name, value in original.headers if name.lower() not in _OURS}
    message = _SENTENCES.get(error.code) or error.description or error.name
    return failure(error.code, message, headers=headers)


def _service_error(error: ServiceError) -> Response:
    return failure(error.status, error.message, error.errors, error.headers)


def _programming(error: ProgrammingError) -> Response:
    return _busy(error) if lacks_tables(error) else _unexpected(error)


def _busy(error: Exception) -> Response:
    if lacks_tables(error):
        log.error("tables of another version: see /readyz", cause=str(error.__cause__))
        return _service_error(NotMigratedError())
    log.warning("database unreachable", error=type(error).__name__, cause=str(error.__cause__))
    return _service_error(BusyError())


def _stale(_error: StaleDataError) -> Response:
    return _service_error(StaleVersionError())


def _broken(error: OSError) -> Response:
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return _unexpected(error)
    log.error("disk full", error=str(error))
    return _service_error(FullDiskError())


def _broken_off(_error: ParseException) -> Response:
    """Answer a body that gunicorn cannot read on while a view reads it."""
    sentence = "The request's body breaks off, or its chunks are not those of HTTP."
    return _service_error(UnreadableBodyError(sentence, errors={"body": [sentence]}))


def _unexpected(error: Exception) -> Response:
    """Answer a defect: its trace goes to the log, the client gets the reference to it."""
    reference = secrets.token_hex(4)
    log.error("unexpected error", reference=reference, method=request.method, exc_info=error)
    return failure(
        500,
        "Something went wrong that should not have. The operator finds it in the log under the"
        f" reference {reference}.",
        {"reference": [reference]},
    )
