"""Schemas of templates that a provider approved."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load

from service.schemas.fields import updated
from service.schemas.pages import SortedPageSchema


class TemplatePageSchema(SortedPageSchema):
    """A page of templates."""

    refresh = fields.Boolean(
        load_default=False,
        metadata={"description": "`true`: ask the provider now, even if the list is fresh"},
    )

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return whether to ask the provider, and the requested page."""
        return {"page": super().request(data), "refresh": data["refresh"]}


class ParameterSchema(Schema):
    """A component of a template that has parameters."""

    component = fields.String(required=True, metadata={"enum": ["header", "body", "button"]})
    index = fields.Integer(metadata={"description": "Which button, counted from 0"})
    names = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Its gaps, or the kind of the file that it takes"},
    )


class ApprovedTemplateSchema(Schema):
    """A template as the provider last described it."""

    name = fields.String(required=True)
    language = fields.String(required=True)
    category = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, metadata={"description": "`APPROVED` if it can be sent"})
    quality = fields.String(required=True, allow_none=True)
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it cannot be sent"}
    )
    parameters = fields.List(
        fields.Nested(ParameterSchema),
        required=True,
        allow_none=True,
        metadata={"description": "Null if only a webhook named the template"},
    )
    updated_at = updated()
