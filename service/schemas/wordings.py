"""Validation messages: each says what to send.

marshmallow says what is wrong with a value. This module replaces each of its messages.
"""

from __future__ import annotations

from typing import Any

from marshmallow import fields
from marshmallow.validate import Validator

A_MOMENT = "Must be a time with a time zone, such as 2026-11-24T10:00:00Z."
A_TEXT = "Must be a string."
CONTRADICTED = "The body and the query string have different values. Send it once, in the body."
CUT_OFF = "The request body is cut off, or its chunked encoding is not valid. Send it again."
GIVEN_TWICE = "Sent more than once. Send it once."

REQUIRED = "This field is required."

_AN_OBJECT = "Must be a JSON object."

_OURS = {
    "Missing data for required field.": REQUIRED,
    "Field may not be null.": "Must not be null. Leave it out, or give it a value.",
    "Not a valid string.": A_TEXT,
    "Not a valid utf-8 string.": A_TEXT,
    "Invalid value.": "This value is not valid.",
    "Not a valid integer.": "Must be a whole number.",
    "Not a valid number.": "Must be a number.",
    "Number too large.": "This number is too large.",
    "Special numeric values (nan or infinity) are not permitted.": "Must be a number.",
    "Not a valid boolean.": "Must be true or false.",
    "Not a valid list.": "Must be a JSON array.",
    "Not a valid mapping type.": _AN_OBJECT,
    "Invalid type.": _AN_OBJECT,
    "Invalid input type.": _AN_OBJECT,
    "Not a valid {obj_type}.": A_MOMENT,
    "Not a valid {awareness} {obj_type}.": A_MOMENT,
    "Not a valid email address.": "Must be an e-mail address, such as ada@example.com.",
    "Must be greater than or equal to {min}.": "Must be at least {min}.",
    "Must be less than or equal to {max}.": "Must be at most {max}.",
    "Must be greater than or equal to {min} and less than or equal to {max}.": (
        "Must be from {min} to {max}."
    ),
    "Shorter than minimum length {min}.": "Must have at least {min} UNITS.",
    "Longer than maximum length {max}.": "Must have at most {max} UNITS.",
    "Length must be between {min} and {max}.": "Must have from {min} to {max} UNITS.",
}

_WORDED = ("error", "message_min", "message_max", "message_all")


def reword(field: fields.Field[Any]) -> None:
    """Replace marshmallow's messages in a field and in the fields inside it."""
    field.error_messages = {
        case: ours(said) if isinstance(said, str) else said
        for case, said in field.error_messages.items()
    }
    units = "entries" if isinstance(field, fields.List) else "characters"
    for validator in field.validators:
        if isinstance(validator, Validator):
            _reword_check(validator, units)
    if isinstance(field, fields.List):
        reword(field.inner)


def unknown(known: list[str]) -> str:
    """Return the message for an unknown field."""
    if not known:
        return "Unknown field. This request takes no fields."
    return f"Unknown field. This request takes {', '.join(known)}."


def ours(said: str) -> str:
    """Return our message for one of marshmallow's."""
    return _OURS.get(said, said)


def _reword_check(validator: Validator, units: str) -> None:
    for name in _WORDED:
        said = getattr(validator, name, None)
        if isinstance(said, str) and said in _OURS:
            setattr(validator, name, _OURS[said].replace("UNITS", units))
