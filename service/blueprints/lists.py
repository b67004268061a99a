"""Lists of people in requests: a form's file, read by its columns and its client's numbering."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from service.blueprints.context import caller, crier
from service.blueprints.requests import request
from service.core import lists, recipients
from service.core.deliveries import invalid
from service.core.numbering import Numbering
from service.core.recipient_lists import Recipients
from service.core.recipients import Reading
from service.errors import InvalidError
from service.lists import tables
from service.lists.base import ListError
from service.lists.tables import Table
from service.models import OnInvalid, SendType
from service.schemas import wordings

FILE = "recipients"
"""The part of a form that has the recipients of a broadcast."""

_EITHER = "Send either `to` or a file of recipients."
_MISSING = (
    "Send the file as a part of this name in a form (multipart/form-data), and the token in the"
    " header."
)


def numbering(body: Mapping[str, Any]) -> Numbering:
    """Return how to read the numbers of a request: as it says, or else as its client is set up."""
    return caller().numbering.merged(body)


def table(name: str, columns: Mapping[str, str], meant: Numbering) -> Table:
    """Return the list of a request's form; raises InvalidError for the field of the list."""
    given = request.list_file
    if given is None:
        raise InvalidError(errors={name: [_MISSING]})
    normalise, _ = meant.way()
    given.file.seek(0)
    with told(name):
        return tables.read(
            given.file,
            wanted=columns,
            is_number=lambda text: normalise(text) is not None,
            charset=given.charset,
        )


def recipients_of(body: Mapping[str, Any], names: frozenset[str] | None) -> Recipients:
    """Return the recipients in `to` or in a file; raises InvalidError for both or neither."""
    meant, most = numbering(body), crier().settings.max_recipients
    skips = body.get("on_invalid") == OnInvalid.SKIP
    most_bad = invalid.MOST if skips else recipients.MOST_BAD
    has_file = request.list_file is not None
    if has_file == ("to" in body):
        reason = _EITHER if has_file else wordings.REQUIRED
        raise InvalidError(errors={"to": [reason]})
    send_type = body["send_type"]
    if not has_file:
        refuse_columns(body)
        return recipients.read(
            body["to"], send_type, most=most, names=names, numbering=meant, most_bad=most_bad
        )
    if send_type == SendType.GROUP:
        raise InvalidError(errors={"send_type": ["A file has numbers. Use `individual`."]})
    listed = table(FILE, body.get("columns") or {}, meant)
    reading = Reading(send_type, names, meant, most_bad)
    with told(FILE):
        return lists.read(listed, reading, most=most)


def refuse_columns(body: Mapping[str, Any]) -> None:
    """Raise InvalidError if a request names columns but has no file."""
    if body.get("columns"):
        raise InvalidError(errors={"columns": ["Columns are those of a file of recipients."]})


def digest() -> dict[str, str]:
    """Return a file's digest, to distinguish a repeated request from a different one."""
    if request.list_file is None:
        return {}
    request.list_file.file.seek(0)
    return {FILE: hashlib.file_digest(request.list_file.file, "sha256").hexdigest()}


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn a ListError into an InvalidError for the field of that name."""
    try:
        yield
    except ListError as error:
        raise InvalidError(errors={name: [str(error)]}) from error
