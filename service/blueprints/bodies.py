"""Bodies: JSON or a form, read whole or refused with the place where it goes wrong.

Whatever passes here can be stored: no NUL character, no half of a surrogate pair, no number that
JSON does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from service import documents
from service.blueprints import forms
from service.documents import UnreadableDocumentError
from service.errors import MediaTypeError, UnreadableBodyError

_MOST_BRACKETS: Final = 20_000
"""The longest text of a message has fewer brackets than this, and nothing else needs many."""

_JSON_TYPES = frozenset(
    {"", "application/json", "application/octet-stream", "text/json", "text/plain"}
)
"""The content types of which it is no news that the body is JSON."""

_JSON_STARTS = (b"{", b"[", b'"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0")
"""How JSON begins and no form does: its own marks, the byte order marks, a byte of UTF-16."""


def read(raw: bytes, mimetype: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the object that a body holds, an empty one for an empty body.

    It is JSON under any content type, and a form under that of a form. `parameters` are those of
    the content type. Raises UnreadableBodyError, MediaTypeError, InvalidError, TooLargeError.
    """
    if mimetype == forms.MULTIPART and raw.lstrip().startswith(b"--"):
        return _checked(forms.read(raw, mimetype, parameters))
    if mimetype == forms.URLENCODED and not raw.lstrip().startswith(_JSON_STARTS):
        return _read_urlencoded(raw)
    try:
        return parse(raw)
    except UnreadableBodyError as error:
        if mimetype in _JSON_TYPES or mimetype.endswith("+json") or mimetype == forms.URLENCODED:
            raise
        sentence = f"This address takes JSON, or a form; what came as {mimetype[:100]} is neither."
        raise MediaTypeError(sentence, errors={"body": [sentence]}) from error


def parse(raw: bytes) -> dict[str, Any]:
    """Return the object that JSON holds, an empty one for no bytes; UTF-8, UTF-16 and UTF-32.

    Raises UnreadableBodyError with a sentence that says what is wrong and where.
    """
    with _told():
        value = documents.read(raw, most_brackets=_MOST_BRACKETS, unbounded="to")
        if not isinstance(value, dict):
            documents.refuse("it has to be an object: {…}")
        return value


def as_utf8(raw: bytes) -> bytes:
    """Return a body whose marks and names are those of ASCII, whatever Unicode it is written in."""
    encoding = json.detect_encoding(raw)
    return raw if encoding.startswith("utf-8") else raw.decode(encoding, "replace").encode()


def _read_urlencoded(raw: bytes) -> dict[str, Any]:
    """Read a form, or JSON that a program has encoded like one."""
    if raw.startswith((b"%7B", b"%7b")):
        return parse(unquote_to_bytes(raw.replace(b"+", b" ")).removesuffix(b"="))
    return _checked(forms.read(raw, forms.URLENCODED, {}))


def _checked(form: forms.Form) -> dict[str, Any]:
    with _told():
        documents.check_sizes(form, unbounded="to")
        documents.check_texts(form)
    return form


@contextmanager
def _told() -> Iterator[None]:
    """Let what is wrong with a document be told of the request's body."""
    try:
        yield
    except UnreadableDocumentError as error:
        sentence = f"The request's body is not readable as JSON: {error}."
        raise UnreadableBodyError(sentence, errors={"body": [sentence]}) from error
