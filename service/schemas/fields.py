"""The fields that several schemas share."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from marshmallow import ValidationError, fields, missing, validate

from service.core import moments

LONGEST_LINE = 200
"""The most characters of a name."""

ID_PATTERN = "^[0-9a-f]{24}$"
"""The pattern of an id in the OpenAPI description. JSON Schema has no `\\Z`, so it ends in `$`."""


class Matches(validate.Validator):
    """Check that a whole string matches a pattern.

    Unlike marshmallow's Regexp, it does not publish the pattern: Python's syntax is not JSON's.
    """

    def __init__(self, pattern: str, error: str) -> None:
        self._pattern = re.compile(pattern)
        self._error = error

    def __call__(self, value: str) -> str:
        """Return the text; raises ValidationError."""
        if not self._pattern.fullmatch(value):
            raise ValidationError(self._error)
        return value


is_id = Matches("[0-9a-f]{24}", "Must be an id: 24 hexadecimal digits (0 to 9, a to f).")

_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"

is_line = Matches(_LINE, "Must be a single line without control characters.")


_LAST_MOMENT = 32_503_680_000_000
"""The year 3000 in Unix milliseconds. Later sums must still fit into a date."""


class Moment(fields.AwareDateTime):
    """A time: Unix milliseconds in the code, `2021-12-09T07:33:18.698Z` in JSON."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        del attr, obj, kwargs
        return None if value is None else show_moment(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        moment = super()._deserialize(value, attr, data, **kwargs)
        milliseconds = (moment - moments.UNIX_EPOCH) // dt.timedelta(milliseconds=1)
        if not 0 <= milliseconds < _LAST_MOMENT:
            raise ValidationError("Must be between the years 1970 and 2999.")
        return milliseconds


class Derived(fields.String):
    """A string computed from the whole object."""

    def __init__(self, derive: Callable[[Any], str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._derive = derive

    def get_value(self, obj: Any, attr: str, accessor: Any = None, default: Any = missing) -> Any:
        """Compute the value from the object."""
        del attr, accessor, default
        return self._derive(obj)


class Omitted(fields.String):
    """A string that is omitted from the answer if it is None."""

    def get_value(self, obj: Any, attr: str, accessor: Any = None, default: Any = missing) -> Any:
        """Return the attribute, or marshmallow's `missing` for None."""
        value = super().get_value(obj, attr, accessor=accessor, default=default)
        return value or missing


class Line(fields.String):
    """A single line of text. Control characters could break a log, a header or a vCard."""

    def __init__(self, *, shortest: int = 0, **kwargs: Any) -> None:
        metadata = {"pattern": f"^{_LINE}$", **kwargs.pop("metadata", {})}
        super().__init__(
            validate=[validate.Length(min=shortest or None, max=LONGEST_LINE), is_line],
            metadata=metadata,
            **kwargs,
        )


class Phone(fields.String):
    """A phone number in any notation. A JSON number is read as its digits."""

    def __init__(self, **kwargs: Any) -> None:
        kind = {"type": ["string", "integer"]}
        super().__init__(**kwargs | {"metadata": kind | kwargs.get("metadata", {})})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Name(Line):
    """A name, without surrounding spaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(shortest=1, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, attr, data, **kwargs).strip()


class Flag(fields.Boolean):
    """A JSON boolean: no other spelling is accepted."""

    truthy = {True}  # noqa: RUF012 - marshmallow declares it so
    falsy = {False}  # noqa: RUF012 - as above

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


def show_moment(milliseconds: int) -> str:
    """Format Unix milliseconds as the API does."""
    return moments.show(milliseconds)


def id_field(**kwargs: Any) -> fields.String:
    """Return a field that shows an id."""
    return fields.String(required=True, metadata={"pattern": ID_PATTERN}, **kwargs)


def object_id() -> fields.String:
    """Return the field of an object's own id."""
    return id_field(data_key="_id", attribute="id")


def created() -> Moment:
    """Return the field of the creation time."""
    return Moment(required=True, data_key="createdAt", attribute="created_at")


def updated() -> Moment:
    """Return the field of the last change."""
    return Moment(required=True, data_key="updatedAt", attribute="updated_at")


def version() -> fields.Integer:
    """Return the field of an object's version."""
    return fields.Integer(required=True, data_key="__v", attribute="version")


def seen_version() -> fields.Integer:
    """Return the field that names the version a change is based on."""
    about = "The version this change is based on. If it is no longer current: 409"
    return fields.Integer(
        strict=True, data_key="__v", attribute="version", metadata={"description": about}
    )
