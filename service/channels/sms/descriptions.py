"""Gateway descriptions: how to write a request, and where its answer has each value.

A description is only data: it loads nothing, runs nothing and has no regular expressions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

from service.channels.sms.codes import About, Code, Codes
from service.channels.sms.segments import Alphabet
from service.channels.webhooks import ReceiptState

PLACEHOLDERS: Final = frozenset({"to", "text", "sender", "reference", "webhook", "alphabet"})
MOST_BYTES: Final = 8_192
"""Maximum bytes of JSON in a description's body and headers."""

_GAP: Final = re.compile(r"\{\{([a-z0-9_]{1,32})\}\}")
_LINE: Final = validate.Regexp(r"[ -~]{0,1024}\Z", error="Must be printable ASCII in one line.")
_PATH: Final = validate.Regexp(
    r"[A-Za-z0-9_\-]{1,64}(\.[A-Za-z0-9_\-]{1,64}){0,9}\Z",
    error="Must be names separated by dots, such as messages.0.id.",
)


def small(value: object) -> None:
    """Refuse a part of a description that is too long or too deep."""
    try:
        size = len(json.dumps(value))
    except RecursionError:
        size = MOST_BYTES + 1
    if size > MOST_BYTES:
        message = f"Must have at most {MOST_BYTES:,} bytes."
        raise ValidationError(message)


_MARK: Final = fields.String(validate=validate.Length(max=256))


class Place(fields.Field[Any]):
    """The location of a value: a path in JSON or a form, or the texts before and after it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> Any:
        del attr, data
        if isinstance(value, str):
            _PATH(value)
            return value
        if isinstance(value, dict) and {"after"} <= set(value) <= {"after", "until"}:
            return {name: _MARK.deserialize(each) for name, each in value.items()}
        message = 'Must be a path such as "messages.0.id", or {"after": "…", "until": "…"}.'
        raise ValidationError(message)


PATH: Final = partial(fields.String, validate=_PATH)
"""A field with a path in JSON."""


class ConditionSchema(Schema):
    """A condition: the value at a place is one of these values."""

    at = Place(required=True)
    values = fields.List(
        fields.String(validate=_LINE), required=True, validate=validate.Length(1, 50)
    )


class ReceiptSchema(Schema):
    """Where a report has each value; `each` is the path of a list of reports."""

    each = Place()
    id = Place(required=True)
    status = Place(required=True)
    reason = Place()
    states = fields.Dict(
        keys=fields.String(validate=validate.OneOf([state.value for state in ReceiptState])),
        values=fields.List(fields.String(validate=_LINE), validate=validate.Length(1, 50)),
        required=True,
    )


class InboundSchema(Schema):
    """Where an inbound message has each value; `each` is the path of a list of messages.

    `where` is a condition that distinguishes it from a delivery report.
    """

    where = fields.Nested(ConditionSchema)
    each = Place()
    id = Place(required=True)
    sender = Place(required=True)
    text = Place(required=True)


def codes(given: Mapping[str, list[str]]) -> Codes:
    """Return a description's table of codes; `given` lists codes by subject."""
    named = {about.name.lower(): about for about in About}
    table = {word: Code(named[name]) for name, words in given.items() for word in words}
    return Codes("The gateway", table)


ALPHABETS: Final = fields.Dict(
    keys=fields.String(validate=validate.OneOf(list(Alphabet))),
    values=fields.String(validate=_LINE),
    load_default=dict,
    metadata={"description": "The gateway's names of `gsm-7` and `ucs-2`, for {{alphabet}}"},
)

CODES: Final = fields.Dict(
    keys=fields.String(validate=validate.OneOf([about.name.lower() for about in About])),
    values=fields.List(fields.String(validate=_LINE), validate=validate.Length(1, 100)),
    load_default=dict,
    metadata={"description": "The gateway's error codes, by subject"},
)

_HEADER: Final = validate.Regexp(
    r"(?i)(?!(host|content-length|transfer-encoding|connection|expect|te|trailer|upgrade"
    r"|proxy-.*)\Z)[a-z0-9\-]{1,64}\Z",
    error="Must be the name of a header, and none of those that frame or route a request.",
)
"""Whoever frames a request otherwise than it is sent can have the rest of it read as another one,
on a connection that other sessions use too."""

HEADERS: Final = fields.Dict(
    keys=fields.String(validate=_HEADER),
    values=fields.String(validate=_LINE),
    load_default=dict,
    validate=[validate.Length(max=20), small],
)

SECRETS: Final = fields.Dict(
    keys=fields.String(validate=validate.Regexp(r"[a-z0-9_]{1,32}\Z")),
    values=fields.String(validate=_LINE),
    load_default=dict,
    validate=[validate.Length(max=10), small],
    metadata={"secret": True, "description": "Keys and passwords, by the name of a placeholder"},
)


def names(value: Any) -> Iterator[str]:
    """Yield the name of each placeholder in a description."""
    if isinstance(value, str):
        yield from _GAP.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names(inner)


def fill(value: Any, values: Mapping[str, str], write: Callable[[str], str] = str) -> Any:
    """Return a description with values in place of its placeholders.

    A value that looks like a placeholder stays unchanged. `write` escapes a value for its place.
    """
    if isinstance(value, str):
        return _GAP.sub(lambda gap: write(values[gap[1]]), value)
    if isinstance(value, Mapping):
        return {name: fill(inner, values, write) for name, inner in value.items()}
    return [fill(inner, values, write) for inner in value] if isinstance(value, list) else value


def find(said: Any, at: Any) -> str:
    """Return the value at a place as text, or an empty text."""
    if isinstance(at, Mapping):
        return _between(said, at) if isinstance(said, str) else ""
    for name in str(at).split("."):
        said = _inner(said, name)
    return "" if said is None or isinstance(said, dict | list) else _text(said)


def holds(said: Any, condition: Mapping[str, Any] | None) -> bool:
    """Return whether a condition is true; None is always true."""
    return not condition or find(said, condition["at"]) in condition["values"]


def objects(said: Any, at: str | None) -> list[Any]:
    """Return the list of reports, or a list with the only report."""
    for name in at.split(".") if at else ():
        said = _inner(said, name)
    return said if isinstance(said, list) else [said]


def _inner(said: Any, name: str) -> Any:
    if isinstance(said, Mapping):
        return said.get(name)
    if isinstance(said, list) and name.isdecimal() and int(name) < len(said):
        return said[int(name)]
    return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _between(said: str, marks: Mapping[str, str]) -> str:
    _, found, rest = said.partition(marks["after"]) if marks["after"] else ("", "-", said)
    until = marks.get("until")
    return (rest.partition(until)[0] if until else rest).strip() if found else ""
