"""Query parameters of lists."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from service.core.paging import DEFAULT_SIZE, LARGEST_SIZE, PageRequest
from service.core.reports import Filter
from service.models import DeliveryStatus
from service.schemas.base import StrictSchema
from service.schemas.fields import is_id


def _size(**options: Any) -> fields.Integer:
    return fields.Integer(validate=validate.Range(min=1, max=LARGEST_SIZE), **options)


def _recipient(about: str) -> fields.String:
    return fields.String(
        load_default="",
        validate=validate.Length(max=100),
        metadata={"description": about},
    )


def _deleted(about: str) -> fields.Boolean:
    return fields.Boolean(
        load_default=False, truthy={"true"}, falsy={"false"}, metadata={"description": about}
    )


def _page(data: dict[str, Any]) -> PageRequest:
    usual = LARGEST_SIZE if data["type"] else DEFAULT_SIZE
    size = data["page_size"] or data["limit"] or usual
    if data["limit"] not in {None, size}:
        raise ValidationError("Differs from `page_size`. Send only one of them.", "limit")
    return PageRequest(data["page"], size, data["sort"] == "-createdAt")


class SortedPageSchema(StrictSchema):
    """A page of a list that can be sorted in both directions."""

    page = fields.Integer(load_default=1, validate=validate.Range(min=1))
    page_size = _size(load_default=None)
    limit = _size(load_default=None, metadata={"description": "The guide's word for `page_size`"})
    type = fields.String(
        load_default="",
        validate=validate.OneOf(["", "all"]),
        metadata={"description": f"`all`, the guide's word for a `page_size` of {LARGEST_SIZE}"},
    )
    sort = fields.String(
        load_default="createdAt", validate=validate.OneOf(["createdAt", "-createdAt"])
    )

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the requested page."""
        return _page(data)


class DeletedSchema(StrictSchema):
    """Whether a deleted object is requested."""

    deleted = _deleted("`true`: fetch a deleted one, which is not purged yet")

    @post_load
    def wanted(self, data: dict[str, Any], **_: Any) -> bool:
        """Return whether a deleted object is requested."""
        return bool(data["deleted"])


class BroadcastPageSchema(SortedPageSchema):
    """A page of broadcasts."""

    deleted = _deleted("`true`: only deleted broadcasts, which are not purged yet")

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        return {"page": _page(data), "deleted": data["deleted"]}


class NewestFirstPageSchema(SortedPageSchema):
    """A page of a list that is sorted newest first."""

    sort = fields.String(
        load_default="-createdAt", validate=validate.OneOf(["createdAt", "-createdAt"])
    )


class LogPageSchema(NewestFirstPageSchema):
    """A page of deliveries, newest first."""

    recipient = _recipient("Only what was sent to this number, in any notation, or group")
    deleted = _deleted("`true`: only deliveries of deleted broadcasts")

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        wanted = {"recipient": data["recipient"], "deleted": data["deleted"]}
        return {"page": _page(data), **wanted}


class SandboxPageSchema(SortedPageSchema):
    """A page of the sandbox's messages."""

    session_id = fields.String(
        load_default="",
        validate=lambda given: given and is_id(given),
        metadata={
            "description": "Only messages from this session; empty: from all your sessions",
            "pattern": "^([0-9a-f]{24})?$",
        },
    )
    recipient = _recipient("Only messages to this number, in any notation, or group")

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        wanted = {"session_id": data["session_id"], "recipient": data["recipient"]}
        return {"page": super().request(data), **wanted}


class DeliveryFilterSchema(StrictSchema):
    """Which deliveries of a broadcast."""

    status = fields.Enum(DeliveryStatus, by_value=True, load_default=None)
    recipient = _recipient("Only this number, in any notation, or group")
    code = fields.String(
        load_default=None,
        validate=validate.Length(max=1_000),
        metadata={
            "description": "Only what failed or is uncertain with this code; empty: without a code"
        },
    )
    deleted = _deleted("`true`: of a deleted broadcast, which is not purged yet")

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the requested filter."""
        wanted = Filter(data["status"], code=data["code"])
        return {"filter": wanted, "recipient": data["recipient"], "deleted": data["deleted"]}


class DeliveryPageSchema(DeliveryFilterSchema, SortedPageSchema):
    """A page of the deliveries of a broadcast, in the order of `to`."""

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        return {"page": _page(data), **super().request(data)}
