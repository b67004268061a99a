"""Base schemas: which fields they take, and what counts as left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from marshmallow import (
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
)

from service.schemas import wordings


class StrictSchema(Schema):
    """A schema that refuses unknown fields."""

    class Meta:
        unknown = RAISE

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        known = [field.data_key or name for name, field in self.load_fields.items()]
        self.error_messages = {
            "type": wordings.ours(self.error_messages["type"]),
            "unknown": wordings.unknown(known),
        }

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Replace marshmallow's error messages."""
        super().on_bind_field(field_name, field_obj)
        wordings.reword(field_obj)


def _optional(schema: Schema) -> dict[str, fields.Field[Any]]:
    """Return the optional fields by the name that requests use."""
    return {
        field.data_key or name: field
        for name, field in schema.load_fields.items()
        if not field.required
    }


def _takes_empty(field: fields.Field[Any]) -> bool:
    try:
        field.deserialize("")
    except ValidationError:
        return False
    return True


class CredentialsSchema(StrictSchema):
    """The credentials that any body may carry. An empty string counts as absent."""

    session_id = fields.String(
        allow_none=True,
        load_only=True,
        metadata={
            "description": "Id of the session to send with, or of the session token;"
            " empty: the default session",
            "example": "",
        },
    )
    access_token = fields.String(
        allow_none=True,
        load_only=True,
        metadata={
            "description": "A token, if the client cannot send it in the header",
            "example": "",
        },
    )

    @pre_load
    def drop_unfilled(self, data: Any, **_: Any) -> Any:
        """Drop optional fields of a form that are empty.

        Keep an empty string where it has a meaning, such as removing the organisation.
        """
        return _without(self, data, lambda value, field: value == "" and not _takes_empty(field))

    @post_load
    def leave_credentials(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Drop the credentials: authentication has read them already."""
        return {name: data[name] for name in data if name not in {"session_id", "access_token"}}


class WholeSchema(StrictSchema):
    """A change that may contain the whole object as an answer showed it.

    `SHOWN` is the schema of that answer. Its fields that cannot be changed are ignored.
    """

    SHOWN: ClassVar[type[Schema]]

    @pre_load
    def pass_over(self, data: Any, **_: Any) -> Any:
        """Drop the fields that only answers have."""
        if not isinstance(data, Mapping):
            return data
        only_shown = _names(self.SHOWN().dump_fields) - _names(self.load_fields)
        return {name: value for name, value in data.items() if name not in only_shown}


def _names(fields_: Mapping[str, fields.Field[Any]]) -> set[str]:
    return {field.data_key or name for name, field in fields_.items()}


class LenientSchema(StrictSchema):
    """A schema that treats empty optional fields as absent.

    Forms send an unfilled field as an empty string, PHP sends an empty object as `[]`, and some
    programs send an object whose fields are all empty.
    """

    @pre_load
    def drop_empty(self, data: Any, **_: Any) -> Any:
        """Drop optional fields that are empty."""
        return _without(self, data, _says_nothing)


def _without(schema: Schema, data: Any, is_absent: Callable[[Any, fields.Field[Any]], bool]) -> Any:
    """Return an object without the optional fields that count as absent."""
    if not isinstance(data, Mapping):
        return data
    optional = _optional(schema)
    return {
        name: value
        for name, value in data.items()
        if not (name in optional and is_absent(value, optional[name]))
    }


_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})


def _says_nothing(value: Any, field: fields.Field[Any]) -> bool:
    if value is None or value == "":
        return True
    if isinstance(field, fields.Nested) and isinstance(value, Mapping):
        return all(inner in _EMPTY for inner in value.values())
    if isinstance(field, fields.List) and isinstance(value, list):
        return all(inner in _EMPTY for inner in value)
    return value in ([], {}) and isinstance(field, fields.Nested | fields.List | fields.Dict)


class Shown:
    """A row with extra attributes for an answer."""

    def __init__(self, row: Any, **added: Any) -> None:
        self._row = row
        self.__dict__.update(added)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)
