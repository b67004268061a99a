"""Request bodies: parse JSON or a form, or say where it is wrong.

Everything that passes can be stored: no NUL character, no lone surrogate, no NaN or infinity.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from service import documents
from service.blueprints import forms
from service.documents import UnreadableDocumentError
from service.errors import InvalidError, MediaTypeError, UnreadableBodyError
from service.schemas import wordings

_MOST_BRACKETS: Final = 20_000
"""No valid request has this many brackets."""

_JSON_TYPES = frozenset(
    {"", "application/json", "application/octet-stream", "text/json", "text/plain"}
)
"""Content types that clients use for JSON."""

_JSON_STARTS = (b"{", b"[", b'"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0")
"""First bytes of JSON, never of a form: brackets, byte order marks, UTF-16's NUL."""


def read(raw: bytes, mimetype: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the object in a body; an empty body is an empty object.

    JSON is accepted under any content type, a form only under its own. `parameters` are those of
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
        sentence = f"Send JSON or a form. {mimetype[:100]} is not supported."
        raise MediaTypeError(sentence, errors={"body": [sentence]}) from error


def parse(raw: bytes) -> dict[str, Any]:
    """Return the object in JSON (UTF-8, UTF-16 or UTF-32); no bytes are an empty object.

    Raises UnreadableBodyError, which says what is wrong and where.
    """
    with _told():
        value = documents.read(raw, most_brackets=_MOST_BRACKETS, unbounded="to")
        if not isinstance(value, dict):
            documents.refuse("it must be an object: {…}")
        return value


def settle(form: forms.Form, name: str, texts: Sequence[bytes]) -> dict[str, Any]:
    """Return the document of a form, which may contain it as a JSON field or as a JSON file.

    `name` is the name of the field; `texts` are the files with that name. Raises
    UnreadableBodyError, InvalidError.
    """
    if not texts and name not in form:
        return _checked(form)
    said = [*texts, *(str(form[name]).encode() for _ in range(name in form))]
    errors = {other[:64]: [f"Say it in `{name}`."] for other in form if other != name}
    if len(said) > 1:
        errors[name] = [wordings.GIVEN_TWICE]
    if errors:
        raise InvalidError(errors=errors)
    return parse(said[0])


def as_utf8(raw: bytes) -> bytes:
    """Convert a body in UTF-16 or UTF-32 to UTF-8."""
    encoding = json.detect_encoding(raw)
    return raw if encoding.startswith("utf-8") else raw.decode(encoding, "replace").encode()


def _read_urlencoded(raw: bytes) -> dict[str, Any]:
    """Read an urlencoded form, or JSON sent with the form's content type."""
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
    """Turn UnreadableDocumentError into UnreadableBodyError."""
    try:
        yield
    except UnreadableDocumentError as error:
        sentence = f"The request body is not valid JSON: {error}."
        raise UnreadableBodyError(sentence, errors={"body": [sentence]}) from error
