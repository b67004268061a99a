"""Schemas of the audit log: entries and filters."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from service.models import ActionSource
from service.schemas.fields import ID_PATTERN, Moment, created, id_field, is_id, object_id
from service.schemas.pages import NewestFirstPageSchema

_LONGEST_ACTION = 100
_EXAMPLE = "broadcast.pause"


class AuditEntrySchema(Schema):
    """Something that was done on behalf of the client."""

    id = object_id()
    action = fields.String(required=True, metadata={"example": _EXAMPLE})
    source = fields.String(
        required=True,
        metadata={
            "enum": list(ActionSource),
            "description": "`command`: the operator did it on the command line",
        },
    )
    object_id = id_field(allow_none=True)
    token_id = id_field(allow_none=True)
    token = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The name of the token and its first characters"},
    )
    address = fields.String(
        required=True, allow_none=True, metadata={"description": "The IP address of the caller"}
    )
    request_id = fields.String(
        required=True, allow_none=True, metadata={"description": "`X-Request-Id` of the answer"}
    )
    changed = fields.List(
        fields.String(), required=True, metadata={"description": "Names of the changed fields"}
    )
    detail = fields.String(required=True, allow_none=True)
    created_at = created()


def _id_filter(about: str) -> fields.String:
    return fields.String(
        load_default=None, validate=is_id, metadata={"description": about, "pattern": ID_PATTERN}
    )


class AuditPageSchema(NewestFirstPageSchema):
    """A page of the audit log, newest first."""

    action = fields.String(
        load_default=None,
        validate=validate.Length(max=_LONGEST_ACTION),
        metadata={"description": "Only this action", "example": _EXAMPLE},
    )
    object_id = _id_filter("Only what was done to this object")
    token_id = _id_filter("Only what was done with this token")
    since = Moment(load_default=None, metadata={"description": "Only what was done from then on"})
    until = Moment(load_default=None, metadata={"description": "Only what was done before then"})

    @validates_schema
    def is_in_order(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a time that ends before it begins."""
        since, until = data["since"], data["until"]
        if since is not None and until is not None and until <= since:
            raise ValidationError("Must be later than `since`.", "until")

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        names = ("action", "object_id", "token_id", "since", "until")
        return {
            "page": super().request(data),
            "filter": {name: data[name] for name in names},
        }
