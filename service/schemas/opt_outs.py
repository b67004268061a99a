"""Schemas of opt-outs and their rules."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, post_load, validate

from service.core.keywords import LANGUAGES
from service.core.opt_out_policies import Reach
from service.models import OptOutSource
from service.schemas.base import CredentialsSchema
from service.schemas.fields import Line, Moment, Phone
from service.schemas.pages import SortedPageSchema
from service.schemas.recipients import Recipients

_LONGEST = 100
_LONGEST_ANSWER = 1_000
_MOST_WORDS = 50


class NewOptOutSchema(CredentialsSchema):
    """A person who wants no more messages."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"recipient": "12025550110"}

    recipient = Phone(
        required=True,
        validate=validate.Length(min=1, max=_LONGEST),
        metadata={
            "description": "A number in international form, or a WhatsApp group (`…@g.us`)",
            "example": "12025550110",
        },
    )


class OptOutPageSchema(SortedPageSchema):
    """A page of opt-outs."""

    recipient = fields.String(
        load_default="",
        validate=validate.Length(max=_LONGEST),
        metadata={"description": "Only this person's"},
    )

    @post_load
    def request(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the filter and the requested page."""
        return {"page": super().request(data), "recipient": data["recipient"]}


class OptOutSchema(Schema):
    """A person who wants no more messages from one session, or from all sessions of a client."""

    recipient = fields.String(required=True)
    since = Moment(required=True, attribute="created_at")
    reason = fields.String(
        required=True, metadata={"description": "The reason with which deliveries to them fail"}
    )
    source = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "enum": [*OptOutSource, None],
            "description": "How it came: `manual` and `import` by you, `keyword` by a message such"
            " as STOP, `provider` and `preference` by WhatsApp; null: a version before 1.1 kept it",
        },
    )


class OptOutImportSchema(CredentialsSchema):
    """People who want no more messages."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"recipients": "12025550110,12025550111"}

    recipients = Recipients(
        required=True,
        metadata={
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": ["string", "integer"]}},
            ],
            "description": "Numbers as `to` of a broadcast has them; or the text of an exported"
            " file, of which the column `recipient` is read",
        },
    )


class OptOutImportedSchema(Schema):
    """The result of an import."""

    added = fields.Integer(required=True)
    known = fields.Integer(
        required=True, metadata={"description": "How many were opted out already"}
    )


def _words(about: str) -> fields.List[str]:
    inner = Line(shortest=1)
    most = validate.Length(max=_MOST_WORDS)
    return fields.List(inner, validate=most, metadata={"description": about})


class OptOutPolicyChangeSchema(CredentialsSchema):
    """Rules for keywords. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "languages": ["en", "fr"],
        "confirmation": "You will get no more messages from us. Send START to get them again.",
    }

    languages = fields.List(
        fields.String(validate=validate.OneOf(list(LANGUAGES))),
        metadata={"description": "Languages whose keywords count; English ones always do"},
    )
    words = _words("Words of your own that stop messages")
    start_words = _words("Words of your own that start them again")
    reach = fields.String(
        validate=validate.OneOf(list(Reach)),
        metadata={
            "description": "Whether STOP to one session counts for that `session` or for all of"
            " the `client`"
        },
    )
    confirmation = fields.String(
        validate=validate.Length(max=_LONGEST_ANSWER),
        metadata={"description": "Sent once to somebody who stops; empty: nothing is sent"},
    )
    welcome = fields.String(
        validate=validate.Length(max=_LONGEST_ANSWER),
        metadata={"description": "Sent to somebody who starts again; empty: nothing is sent"},
    )


class OptOutPolicySchema(Schema):
    """Rules for keywords."""

    languages = fields.List(fields.String(), required=True)
    words = fields.List(fields.String(), required=True)
    start_words = fields.List(fields.String(), required=True)
    reach = fields.String(required=True, metadata={"enum": list(Reach)})
    confirmation = fields.String(required=True)
    welcome = fields.String(required=True)
