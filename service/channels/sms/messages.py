"""A message as SMS: a single text. Files and locations become links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from marshmallow import Schema, fields, validate

from service.channels.content import Content, Location, Media, Part, Text, UnsupportedContentError
from service.channels.settings import Secret
from service.channels.sms import segments

MOST_SEGMENTS: Final = 10
"""Maximum segments of a message: most carriers join ten, and Twilio allows 1,600 characters."""

FORM: Final = "Content-Type: application/x-www-form-urlencoded"

_MAP: Final = "https://www.google.com/maps/search/?api=1&query="
"""https://developers.google.com/maps/documentation/urls/get-started#search-action"""

_SENDER: Final = r"(\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9 &.\-_+]{1,11})\Z"
_SENDER_RULE: Final = (
    "Must be a number of 3 to 15 digits, or a name of up to 11 letters, digits, spaces and & . - _"
    " + with at least one letter."
)


class SmsSettings(Schema):
    """The settings of every SMS channel."""

    sender = fields.String(
        load_default="",
        validate=lambda given: not given or validate.Regexp(_SENDER, error=_SENDER_RULE)(given),
        metadata={"description": "The number or name that the message comes from"},
    )
    links = fields.Boolean(
        load_default=False,
        metadata={"description": "Send attachments and locations as links; needs `PUBLIC_URL`"},
    )
    tidy = fields.Boolean(
        load_default=False,
        metadata={
            "description": "Replace typographic characters, such as curly quotes, which halve"
            " the room of each segment"
        },
    )
    webhook_token = Secret(
        load_default="",
        description="A secret that the provider's webhook URL must have as `?token=`",
    )


def plan(content: Content, settings: Mapping[str, Any]) -> tuple[Text, ...]:
    """Convert a message to one text; raises UnsupportedContentError if SMS cannot carry it."""
    if content.template or content.contact:
        field = "message.template" if content.template else "message.contactId"
        raise UnsupportedContentError(field, "SMS carries only text. Put this into `message.text`.")
    language = str(settings.get("language") or "")
    words = [content.text] if content.text else []
    words += _links(content, may_link=bool(settings.get("links")))
    text = "\n".join(words)
    if settings.get("tidy"):
        text = segments.tidied(text, language)
    counted = segments.count(text, language)
    if counted.segments > MOST_SEGMENTS:
        reason = (
            f"This text takes {counted.segments} segments in {counted.alphabet.upper()}: at most"
            f" {MOST_SEGMENTS} are sent."
        )
        raise UnsupportedContentError("message.text", reason)
    return (Text(text),)


def body(part: Part) -> str:
    """Return the text of a part that `plan` made."""
    if not isinstance(part, Text):
        raise UnsupportedContentError("message", "SMS carries only text.")
    return part.body


def _links(content: Content, *, may_link: bool) -> Iterator[str]:
    for number, media in enumerate(content.media):
        if not (may_link and media.url):
            reason = (
                "SMS carries no files. Set `PUBLIC_URL` and the session's `links` to send a link."
            )
            raise UnsupportedContentError(f"message.attachments.{number}", reason)
        yield _link(media)
    if content.location:
        if not may_link:
            reason = "SMS carries no locations. Set the session's `links` to send a link to a map."
            raise UnsupportedContentError("message.location", reason)
        yield _place(content.location)


def _link(media: Media) -> str:
    return f"{media.caption}\n{media.url}" if media.caption else media.url


def _place(location: Location) -> str:
    link = f"{_MAP}{quote(f'{location.latitude},{location.longitude}', safe='')}"
    return f"{location.name}\n{link}" if location.name else link
