"""The words in which a field that is wrong is told what it should be.

marshmallow says what a value is not; a client's developer wants to know what to send. Its sentences
stand here with ours behind them, and nowhere else.
"""

from __future__ import annotations

from typing import Any

from marshmallow import fields
from marshmallow.validate import Validator

A_MOMENT = "Give a moment with its zone, such as 2026-11-24T10:00:00Z."
A_TEXT = "Must be a text, in quotation marks."
CONTRADICTED = "The body and the query string say different things: say it once, in the body."
GIVEN_TWICE = "Given more than once: give it once."

REQUIRED = "This field is required."

_AN_OBJECT = "Must be an object, in curly brackets."

_OURS = {
    "Missing data for required field.": REQUIRED,
    "Field may not be null.": "Must not be null: leave it out, or give a value.",
    "Not a valid string.": A_TEXT,
    "Not a valid utf-8 string.": A_TEXT,
    "Invalid value.": "This value is not accepted here.",
    "Not a valid integer.": "Must be a whole number.",
    "Not a valid number.": "Must be a number.",
    "Number too large.": "This number is too large.",
    "Special numeric values (nan or infinity) are not permitted.": "Must be a number.",
    "Not a valid boolean.": "Must be true or false.",
    "Not a valid list.": "Must be a list, in square brackets.",
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
    """Give a field, and what is in it, our sentences in the place of marshmallow's."""
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
    """Return the sentence for a field that is none of those that are known."""
    if not known:
        return "There is no such field here, nor any other."
    return f"There is no such field here, only {', '.join(known)}."


def ours(said: str) -> str:
    """Return our sentence in the place of one of marshmallow's."""
    return _OURS.get(said, said)


def _reword_check(validator: Validator, units: str) -> None:
    for name in _WORDED:
        said = getattr(validator, name, None)
        if isinstance(said, str) and said in _OURS:
            setattr(validator, name, _OURS[said].replace("UNITS", units))
