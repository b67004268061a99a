"""Bodies: JSON or a form, read whole or refused with the place where it goes wrong.

Whatever passes here can be stored: no NUL character, no half of a surrogate pair, no number that
JSON does not have.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import filetype

from service.blueprints import forms
from service.errors import MediaTypeError, UnreadableBodyError

_MOST_BRACKETS = 20_000
"""An empty list takes 3 bytes of JSON and 64 of memory: a body of nothing else would fill it. The
longest text of a message has fewer brackets than this, and nothing else needs many."""

_MOST_MEMBERS = 1_000
_LONGEST_LIST = 100_000
_DEEPEST = 64


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
    text = _text(raw)
    if not text or text.isspace():
        return {}
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        _refuse("it has too many lists and objects in it")
    value = _decode(text)
    if not isinstance(value, dict):
        _refuse("it has to be an object: {…}")
    _check_sizes(value)
    # Only an escape can bring in what no encoding can say or JSON forbids in plain sight.
    if "\\u" in text:
        _check_texts(value)
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
    _check_sizes(form)
    _check_texts(form)
    return form


def _text(raw: bytes) -> str:
    encoding = json.detect_encoding(raw)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        if found := filetype.guess(raw):
            _refuse(f"it is a file ({found.mime}), which goes to POST /attachment")
        name = encoding.removesuffix("-sig").upper()
        _refuse(f"byte {error.start + 1} is not {name}: send the body as UTF-8")


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = _SAID.get(error.msg, error.msg.removesuffix(" at"))
        _refuse(f"{what}, at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError:
        _refuse("a number in it has too many digits")


_SAID = {
    "Expecting value": "a value is missing, or a text without double quotation marks",
    "Expecting property name enclosed in double quotes": (
        "a name in double quotation marks is missing, or a comma is one too many"
    ),
    "Expecting ',' delimiter": "a comma is missing, or a bracket",
    "Expecting ':' delimiter": "a colon is missing behind the name of a member",
    "Extra data": "the object ends, and something follows",
    "Invalid control character at": (
        r"a text has a line break or another control character in it: write it as \n"
    ),
    "Invalid \\escape": r"a backslash stands for nothing here: write it as \\",
    r"Invalid \uXXXX escape": r"\u needs four hexadecimal digits behind it",
    "Unterminated string starting at": "a text begins and does not end",
}
"""What Python says of broken JSON, in words that say what to do."""


def _refuse(reason: str) -> NoReturn:
    sentence = f"The request's body is not readable as JSON: {reason}."
    raise UnreadableBodyError(sentence, errors={"body": [sentence]})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; of two members of one name it is not known which is meant."""
    if len(pairs) > _MOST_MEMBERS:
        _refuse(f"an object in it has more than {_MOST_MEMBERS} members")
    members = dict(pairs)
    if len(members) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        _refuse(f"an object names {twice[:64]!r} twice")
    return members


class Written(float):
    """A number with a point or an exponent; as a text it is what the client wrote.

    A telephone as `1.2E+10` is to be told from one that is written out, with `.0` behind it.
    """

    def __init__(self, written: str) -> None:
        self._written = written

    def __str__(self) -> str:
        return self._written


def _finite(digits: str) -> float:
    number = Written(digits)
    if math.isinf(number):
        _refuse("a number in it is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)


def _check_sizes(document: dict[str, Any]) -> None:
    """Refuse what would take long to look through: only `to` may be a list without end."""
    left = [(value, 1) for name, value in document.items() if name != "to"]
    while left:
        item, depth = left.pop()
        if not isinstance(item, dict | list):
            continue
        if depth > _DEEPEST:
            _refuse("it is nested too deeply")
        if len(item) > _LONGEST_LIST:
            _refuse(f"a list in it has more than {_LONGEST_LIST} entries")
        inside = item.values() if isinstance(item, dict) else item
        left.extend((value, depth + 1) for value in inside)


def _check_texts(value: Any) -> None:
    """Refuse NUL characters, which Postgres cannot store, and halves of surrogate pairs."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict):
            left.extend(_members(item))
        elif isinstance(item, list):
            left.extend(item)


def _members(item: dict[str, Any]) -> Iterable[Any]:
    yield from item
    yield from item.values()


def _check_text(text: str) -> None:
    if "\0" in text:
        _refuse(r"a text in it has the character \u0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse("a text in it has half of a surrogate pair")
