"""Batches of a described gateway: many recipients in one request, and an answer for each."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from marshmallow import Schema, ValidationError, fields, validate

from service.channels.errors import SendError, UncertainError
from service.channels.sms import descriptions
from service.channels.sms.codes import Codes
from service.channels.sms.descriptions import PATH, ConditionSchema, Place

MOST: Final = 1_000
"""The most recipients of one request."""

OWN: Final = frozenset({"to", "text", "reference", "alphabet"})
"""The placeholders whose values differ between recipients."""

Message = Mapping[str, str]
"""The values of one recipient's placeholders."""

Outcome = str | SendError
"""The gateway's id of a message, or why it was not accepted."""


class BatchSchema(Schema):
    """How a request lists many recipients, and where its answer has the entry of each."""

    most = fields.Integer(
        required=True,
        validate=validate.Range(2, MOST),
        metadata={"description": "The most recipients of one request"},
    )
    at = PATH(
        metadata={
            "description": "Where in `body` a list has the part of one recipient as its only"
            " element; without it, the request is a list of bodies"
        }
    )
    join = fields.String(
        validate=validate.Length(1, 8),
        metadata={
            "description": "What stands between recipients in one text, such as a comma; `at` is"
            " then the place of a text"
        },
    )
    each = PATH(
        metadata={"description": "Where the answer has its list; without it, the answer is one"}
    )
    recipient = Place(
        metadata={
            "description": "Where an entry has the recipient; without it, entries are in the order"
            " of the request"
        }
    )
    accepted = fields.Nested(ConditionSchema)
    id = Place(required=True)
    code = Place()
    reason = Place()


class Batch:
    """A description's `batch`, with the body that it repeats a part of."""

    def __init__(self, described: Mapping[str, Any], body: Mapping[str, Any], codes: Codes) -> None:
        self._described = described
        self._codes = codes
        self._at = str(described.get("at") or "")
        self._part, self._rest = _cut(body, self._at, joins=bool(described.get("join")))
        self._shared = sorted({*descriptions.names(self._rest)} & OWN)
        self.most = int(described["most"])

    def key(self, message: Message) -> tuple[str, ...]:
        """Return what messages must have in common to go in one request."""
        return tuple(message[name] for name in self._shared)

    def body(self, messages: Sequence[Message]) -> Any:
        """Return the body of a request for messages that have their key in common."""
        parts = [descriptions.fill(self._part, message) for message in messages]
        if not self._at:
            return parts
        join = self._described.get("join")
        rest = descriptions.fill(self._rest, messages[0])
        return _with(rest, self._at.split("."), join.join(parts) if join else parts)

    def outcomes(self, said: Any, messages: Sequence[Message]) -> list[Outcome]:
        """Return the result of each message."""
        entries = descriptions.objects(said, self._described.get("each"))
        if at := self._described.get("recipient"):
            found = {_digits(descriptions.find(entry, at)): entry for entry in entries}
            entries = [found.get(_digits(message["to"])) for message in messages]
        elif len(entries) != len(messages):
            entries = [None] * len(messages)
        return [self._outcome(entry) for entry in entries]

    def _outcome(self, entry: Any) -> Outcome:
        given = self._described.get
        if entry is None:
            return UncertainError("The gateway's answer does not name this message.", code="no_id")
        if not descriptions.holds(entry, given("accepted")):
            code, reason = (descriptions.find(entry, given(at) or "-") for at in ("code", "reason"))
            return self._codes.error(code or "refused", reason)
        known_as = descriptions.find(entry, given("id"))
        return known_as or UncertainError("The gateway's answer has no message id.", code="no_id")


def check(data: Mapping[str, Any]) -> None:
    """Refuse a description whose `batch` does not fit its request; raises ValidationError."""
    described = data["batch"]
    at, join = described.get("at") or "", described.get("join")
    part, rest = _cut(data["body"], at, joins=bool(join))
    if part is None:
        kind = "a text" if join else "a list with one element"
        _refuse("at", f"Must be the place of {kind} in `body`.")
    if "to" not in {*descriptions.names(part)}:
        _refuse("at", "What stands at this place must contain {{to}}.")
    if {"to", "reference"} & {*descriptions.names([rest, data["path"]])}:
        _refuse("at", "{{to}} and {{reference}} may stand only at this place: they differ.")
    if data["format"] != "json" and not join:
        _refuse("join", "Only JSON has lists. Say what stands between the recipients.")


def _refuse(field: str, message: str) -> NoReturn:
    raise ValidationError({field: [message]}, "batch")


def _cut(body: Any, at: str, *, joins: bool) -> tuple[Any, Any]:
    """Return the part for one recipient, or None, and the rest of the body."""
    if not at:
        return body, {}
    rest = copy.deepcopy(body)
    *path, last = at.split(".")
    inner = rest
    for name in path:
        inner = inner.get(name) if isinstance(inner, dict) else None
    value = inner.pop(last, None) if isinstance(inner, dict) else None
    if joins:
        return (value if isinstance(value, str) else None), rest
    return (value[0] if isinstance(value, list) and len(value) == 1 else None), rest


def _with(rest: Any, path: Sequence[str], value: Any) -> Any:
    """Return a body with a value at its place."""
    inner = rest
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return rest


def _digits(number: str) -> str:
    """Return the digits of a number as a gateway writes it."""
    return "".join(filter(str.isdecimal, number))
