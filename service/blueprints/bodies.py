"""Bodies: JSON text that is read whole or refused with the place where it goes wrong.

Whatever passes here can be stored: no NUL character, no half of a surrogate pair, no number that
JSON does not have.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from service.errors import UnreadableBodyError

_MOST_BRACKETS = 20_000
"""An empty list takes 3 bytes of JSON and 64 of memory: a body of nothing else would fill it. The
longest text of a message has fewer brackets than this, and nothing else needs many."""

_MOST_MEMBERS = 1_000
_LONGEST_LIST = 100_000
_DEEPEST = 64


def parse(raw: bytes) -> dict[str, Any]:
    """Return the object that a body holds, an empty one for an empty body.

    Raises UnreadableBodyError with a sentence that says what is wrong and where.
    """
    if not raw or raw.isspace():
        return {}
    if raw.count(b"[") + raw.count(b"{") > _MOST_BRACKETS:
        _refuse("it has too many lists and objects in it")
    value = _decode(raw)
    if not isinstance(value, dict):
        _refuse("it has to be an object: {…}")
    _check_sizes(value)
    # Only an escape can bring in what UTF-8 itself cannot say or JSON forbids in plain sight.
    if b"\\u" in raw:
        _check_texts(value)
    return value


def _decode(raw: bytes) -> Any:
    try:
        return _DECODER.decode(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start + 1} is not UTF-8")
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError:
        _refuse("a number in it has too many digits")


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


def _finite(digits: str) -> float:
    number = float(digits)
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
