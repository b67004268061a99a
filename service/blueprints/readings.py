"""Converts the strings of a form to the types of a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from service.blueprints import bodies
from service.blueprints.forms import Repeated
from service.errors import InvalidError
from service.schemas import wordings
from service.schemas.recipients import Recipients

_WORDS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
"""How forms write JSON booleans."""


def read(document: Any, schema: Schema, within: str = "") -> Any:
    """Convert strings of a form to booleans, lists and objects as the schema requires.

    Numbers stay strings: schema fields parse them. `within` is the path of the document in a larger
    one. Raises InvalidError, and UnreadableBodyError for invalid JSON.
    """
    if not isinstance(document, Mapping):
        return document
    known = {field.data_key or name: field for name, field in schema.load_fields.items()}
    return {
        name: _value(value, known[name], f"{within}{name}") if name in known else value
        for name, value in document.items()
    }


def _value(value: Any, field: fields.Field[Any], path: str) -> Any:
    if isinstance(value, Repeated) and not isinstance(field, fields.List | Recipients):
        raise InvalidError(errors={path: [wordings.GIVEN_TWICE]})
    if isinstance(field, fields.Nested):
        return read(_object(value), field.schema, f"{path}.")
    return _meant(value, field) if value and isinstance(value, str) else value


def _object(value: Any) -> Any:
    """Parse JSON in a form field."""
    is_json = isinstance(value, str) and value.lstrip().startswith("{")
    return bodies.parse(value.encode()) if is_json else value


def _meant(text: str, field: fields.Field[Any]) -> Any:
    if isinstance(field, fields.Boolean):
        return _WORDS.get(text.lower(), text)
    if isinstance(field, fields.Integer) and text.isdecimal():
        return int(text[:20])
    return [text] if isinstance(field, fields.List) else text
