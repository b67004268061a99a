"""The envelope around every answer."""

from __future__ import annotations

from functools import cache
from typing import Any

from marshmallow import Schema, fields


class FailureSchema(Schema):
    """The envelope of an error. `errors` maps each field (dotted) to its reasons."""

    status = fields.Boolean(required=True, metadata={"enum": [False]})
    message = fields.String(required=True)
    data = fields.Raw(required=True, metadata={"type": "null"})
    errors = fields.Dict(
        required=True,
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"example": {"to": ["This field is required."]}},
    )


@cache
def envelope(schema: type[Schema], *, many: bool) -> Schema:
    """Return the schema of the envelope around one object, or around a list of them."""
    inner = fields.Nested(schema, required=True)
    name = schema.__name__.removesuffix("Schema")
    members: dict[str, fields.Field[Any]] = {
        "status": fields.Boolean(required=True, metadata={"enum": [True]}),
        "message": fields.String(required=True),
        "data": fields.List(inner, required=True) if many else inner,
    }
    return Schema.from_dict(members, name=f"{name}{'List' if many else ''}Answer")()
