"""Schemas of callbacks and their events."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from marshmallow import Schema, fields, post_load, validate

from service.models import EventStatus, EventType
from service.schemas.base import CredentialsSchema, LenientSchema, WholeSchema
from service.schemas.fields import (
    Flag,
    Matches,
    Moment,
    created,
    id_field,
    object_id,
    seen_version,
    updated,
    version,
)
from service.schemas.pages import SortedPageSchema

LONGEST_URL = 2_048
_URL = r"https?://[A-Za-z0-9.\-_\[\]:]+([/?][!\"$-~]*)?"


def _url(**options: Any) -> fields.String:
    is_url = Matches(
        _URL, "Must be an http or https URL in ASCII, without a user and without a fragment."
    )
    return fields.String(
        validate=[validate.Length(max=LONGEST_URL), is_url],
        metadata={"description": "Where events are posted", "example": "https://example.com/crier"},
        **options,
    )


def _events(**options: Any) -> fields.List[str]:
    return fields.List(
        fields.String(validate=validate.OneOf(list(EventType))),
        validate=validate.Length(min=1, max=len(EventType)),
        metadata={"description": "The types of event that are posted"},
        **options,
    )


class NewCallbackSchema(CredentialsSchema, LenientSchema):
    """A new callback."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "url": "https://example.com/crier",
        "events": ["broadcast.completed", "delivery.updated"],
    }

    url = _url(required=True)
    events = _events(required=True)

    @post_load
    def once(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Keep each event once."""
        return {**data, "events": list(dict.fromkeys(data["events"]))}


class CallbackSchema(Schema):
    """A URL of a client to which events are posted."""

    id = object_id()
    url = fields.String(required=True)
    events = fields.List(fields.String(metadata={"enum": list(EventType)}), required=True)
    paused = fields.Function(lambda callback: callback.paused_at is not None, required=True)
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it is paused"}
    )
    paused_at = Moment(required=True, allow_none=True, data_key="pausedAt")
    failing_since = Moment(
        required=True,
        allow_none=True,
        data_key="failingSince",
        metadata={"description": "The first failure since the last success; a day later it pauses"},
    )
    client_id = id_field()
    created_at = created()
    updated_at = updated()
    version = version()


class CallbackChangeSchema(CredentialsSchema, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"paused": False}
    SHOWN = CallbackSchema

    url = _url()
    events = _events()
    paused = Flag(
        metadata={"description": "`true`: it gets no events; `false`: those that wait are posted"}
    )
    version = seen_version()

    @post_load
    def once(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Keep each event once."""
        given = {"events": list(dict.fromkeys(data["events"]))} if "events" in data else {}
        return {**data, **given}


class NewlyMadeCallbackSchema(CallbackSchema):
    """A callback and its new secret."""

    secret = fields.String(
        required=True, metadata={"description": "Verifies signatures; it is not shown again"}
    )


class CallbackEventSchema(Schema):
    """An event that is posted to a callback."""

    id = object_id()
    callback_id = id_field()
    type = fields.String(required=True, metadata={"enum": list(EventType)})
    status = fields.String(required=True, metadata={"enum": list(EventStatus)})
    attempts = fields.Integer(required=True)
    problem = fields.String(
        required=True, allow_none=True, metadata={"description": "What the last attempt came to"}
    )
    created_at = created()
    expires_at = Moment(
        required=True,
        data_key="expiresAt",
        metadata={"description": "When it is given up; POST …/resend tries again"},
    )
    delivered_at = Moment(required=True, allow_none=True, data_key="deliveredAt")


class WholeCallbackEventSchema(CallbackEventSchema):
    """An event with the body that is posted."""

    body = fields.Function(lambda event: json.loads(event.body), required=True)


class EventPageSchema(SortedPageSchema):
    """A page of the events of a callback."""

    sort = fields.String(
        load_default="-createdAt", validate=validate.OneOf(["createdAt", "-createdAt"])
    )
    status = fields.Enum(EventStatus, by_value=True, load_default=None)

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        return {"page": super().request(data), "status": data["status"]}
