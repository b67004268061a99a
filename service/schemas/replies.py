"""Schemas of replies and answers."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from service.core.keywords import KeywordAction
from service.core.replies import ReplyFilter
from service.schemas.fields import ID_PATTERN, Moment, created, id_field, is_id, object_id
from service.schemas.pages import NewestFirstPageSchema

_LONGEST = 200


def _id(about: str) -> fields.String:
    return fields.String(
        load_default="",
        validate=lambda given: given and is_id(given),
        metadata={"description": about, "pattern": "^([0-9a-f]{24})?$"},
    )


def _words(about: str) -> fields.String:
    most = validate.Length(max=_LONGEST)
    return fields.String(load_default="", validate=most, metadata={"description": about})


class ReplyPageSchema(NewestFirstPageSchema):
    """A page of replies."""

    recipient = _words("Only what this person wrote")
    broadcast_id = _id("Only what was answered to this broadcast")
    session_id = _id("Only what came to this session of yours; empty: to all of them")
    text = _words("Only what has this in its text, in capitals or not")

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        wanted = ReplyFilter((), data["broadcast_id"], data["session_id"], data["text"])
        page = super().request(data)
        return {"page": page, "wanted": wanted, "recipient": data["recipient"]}


class ReplySchema(Schema):
    """A message that somebody wrote to a session."""

    id = object_id()
    session_id = id_field()
    recipient = fields.String(required=True, metadata={"description": "Who wrote it"})
    name = fields.String(
        required=True, allow_none=True, metadata={"description": "What they call themselves"}
    )
    kind = fields.String(
        required=True,
        metadata={"description": "`text`, `button` for a choice, else the channel's own word"},
    )
    text = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The text, the button's label, or what stands under a picture"},
    )
    payload = fields.String(
        required=True, allow_none=True, metadata={"description": "A button's own data"}
    )
    broadcast_id = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "pattern": ID_PATTERN,
            "description": "The broadcast that they answered, else the last one that they got by"
            " this session; null: none, or not looked for yet",
        },
    )
    delivery_id = id_field(allow_none=True)
    attachment_id = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "pattern": ID_PATTERN,
            "description": "The file that came with it, if its session has `keep_files`; null:"
            " none, or not fetched yet",
        },
    )
    file_problem = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why the file that came with it was not kept"},
    )
    opt_out = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "enum": [*KeywordAction, None],
            "description": "Whether it was a keyword that stops or starts messages",
        },
    )
    message_id = fields.String(required=True, metadata={"description": "The provider's id of it"})
    written_at = Moment(required=True, data_key="writtenAt")
    created_at = created()


class AnswerSchema(Schema):
    """An answer to a broadcast, and how many people gave it."""

    text = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "As one of them wrote it; null for what is no text"},
    )
    kind = fields.String(required=True)
    replies = fields.Integer(required=True)
    people = fields.Integer(required=True)
    last_at = Moment(required=True, data_key="lastAt")
