"""Parses untrusted JSON from clients and providers, or says where it is wrong.

Size and depth are limited, so deep nesting or a million empty lists cost nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import filetype

_MOST_MEMBERS: Final = 1_000
_LONGEST_LIST: Final = 100_000
_DEEPEST: Final = 64
_MOST_ENTRIES: Final = 1_000_000
"""Of a list without end, how many may be objects: each takes some hundred bytes of memory."""


class UnreadableDocumentError(Exception):
    """The input is not valid JSON, or it exceeds a limit."""


def read(raw: bytes, *, most_brackets: int, unbounded: str = "", storable: bool = True) -> Any:
    """Parse JSON in UTF-8, UTF-16 or UTF-32; no bytes are an empty object.

    An empty list takes 3 bytes of JSON and 64 of memory, so the number of brackets is limited.
    The member `unbounded` may be a list without end, also of objects that have a member of that
    name, and another object inside; `storable`: all texts must be fit for a database.
    Raises UnreadableDocumentError.
    """
    text = _text(raw)
    if not text or text.isspace():
        return {}
    if (brackets := text.count("[") + text.count("{")) > most_brackets and unbounded:
        brackets -= 2 * min(text.count(f'"{unbounded}"'), _MOST_ENTRIES)
    if brackets > most_brackets:
        refuse("it has too many lists and objects")
    value = _decode(text)
    check_sizes(value, unbounded=unbounded)
    # Only escapes can introduce NUL or lone surrogates.
    if storable and "\\u" in text:
        check_texts(value)
    return value


def check_sizes(document: Any, *, unbounded: str = "") -> None:
    """Refuse documents that are slow to process; the member `unbounded` may be any list."""
    level = [document]
    if isinstance(document, dict):
        level = [value for name, value in document.items() if name != unbounded]
    level = [value for value in level if type(value) in _NESTING]
    for _ in range(_DEEPEST):
        if max(map(len, level), default=0) > _LONGEST_LIST:
            refuse(f"a list has more than {_LONGEST_LIST} entries")
        level = [
            value
            for item in level
            for value in (item.values() if type(item) is dict else item)
            if type(value) in _NESTING
        ]
        if not level:
            return
    refuse("it is nested too deeply")


_NESTING: Final = frozenset({dict, list})


def check_texts(value: Any) -> None:
    """Refuse NUL characters, which Postgres cannot store, and lone surrogates."""
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
        refuse(r"a string contains the character \u0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse("a string contains half of a surrogate pair")


def _text(raw: bytes) -> str:
    encoding = json.detect_encoding(raw)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        if found := filetype.guess(raw):
            refuse(f"it is a file ({found.mime}). Upload it with POST /attachment")
        name = encoding.removesuffix("-sig").upper()
        refuse(f"byte {error.start + 1} is not {name}: send the body as UTF-8")


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = _SAID.get(error.msg, error.msg.removesuffix(" at"))
        refuse(f"{what}, at line {error.lineno}, column {error.colno}")
    except RecursionError:
        refuse("it is nested too deeply")
    except ValueError:
        refuse("a number has too many digits")


_SAID = {
    "Expecting value": "a value is missing, or a string has no double quotes",
    "Expecting property name enclosed in double quotes": (
        "a name in double quotes is missing, or there is a comma too many"
    ),
    "Expecting ',' delimiter": "a comma or a bracket is missing",
    "Expecting ':' delimiter": "a colon is missing after the name of a member",
    "Extra data": "there is more text after the end of the object",
    "Invalid control character at": (
        r"a string contains a line break or another control character: write it as \n"
    ),
    "Invalid \\escape": r"a backslash starts no valid escape: write it as \\",
    r"Invalid \uXXXX escape": r"\u needs four hexadecimal digits after it",
    "Unterminated string starting at": "a string has no end",
}
"""Replacements for Python's messages about invalid JSON."""


def refuse(reason: str) -> NoReturn:
    """Raise UnreadableDocumentError."""
    raise UnreadableDocumentError(reason)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; refuse duplicate names."""
    members = dict(pairs)
    if len(members) == len(pairs) <= _MOST_MEMBERS:
        return members
    if len(pairs) > _MOST_MEMBERS:
        refuse(f"an object has more than {_MOST_MEMBERS} members")
    [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
    refuse(f"an object has the member {twice[:64]!r} twice")


class WrittenNumber(float):
    """A number with a point or an exponent. `str` returns it as the client wrote it.

    A phone number written as `1.2E+10` must differ from one written out with `.0` at its end.
    """

    def __init__(self, written: str) -> None:
        self._written = written

    def __str__(self) -> str:
        return self._written


def _finite(digits: str) -> float:
    number = WrittenNumber(digits)
    if math.isinf(number):
        refuse("a number is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    refuse(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)
