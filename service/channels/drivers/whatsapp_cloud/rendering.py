"""Renders messages as JSON for the Cloud API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from json import JSONEncoder
from typing import Any, Final

from service.channels.content import (
    ContactCard,
    Location,
    Media,
    MediaKind,
    Part,
    Template,
    Text,
    UnsupportedContentError,
)

_MEGABYTE: Final = 1024 * 1024
_DOCUMENT_LIMIT: Final = 100 * _MEGABYTE
_SHOWN: Final = {
    MediaKind.IMAGE: (5 * _MEGABYTE, {"image/jpeg", "image/png"}),
    MediaKind.VIDEO: (16 * _MEGABYTE, {"video/mp4", "video/3gpp"}),
    MediaKind.AUDIO: (
        16 * _MEGABYTE,
        {"audio/aac", "audio/amr", "audio/mp4", "audio/mpeg", "audio/ogg"},
    ),
}
"""Sizes in bytes and types that WhatsApp shows as media
(https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media)."""


_encode: Final = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""`json.dumps` makes an encoder for each message."""


def fitted(media: Media) -> Media:
    """Turn an attachment into a document if WhatsApp cannot show it as media."""
    limit, types = _SHOWN.get(media.kind, (0, set()))
    if media.size <= limit and media.mimetype.partition(";")[0] in types:
        return media
    if media.size > _DOCUMENT_LIMIT:
        reason = f"{media.filename}: WhatsApp accepts files of at most 100 MB."
        raise UnsupportedContentError(field="message.attachments", reason=reason)
    return replace(media, kind=MediaKind.DOCUMENT)


def render(part: Part, *, preview_url: bool) -> tuple[str, Any]:
    """Return a part's type and body."""
    match part:
        case Text():
            return "text", {"body": part.body, "preview_url": preview_url}
        case Media():
            return part.kind.value, _media(part)
        case Location():
            place = {"latitude": part.latitude, "longitude": part.longitude, "name": part.name}
            return "location", _without_empty(place)
        case ContactCard():
            return "contacts", [_contact(part)]
        case Template():
            return "template", _template(part)


def dump(body: object) -> str:
    """Return compact JSON."""
    return _encode(body)


def _media(media: Media) -> dict[str, str]:
    filename = media.filename if media.kind is MediaKind.DOCUMENT else ""
    return _without_empty({"caption": media.caption, "filename": filename})


def _contact(card: ContactCard) -> dict[str, Any]:
    """Render a contact card. Meta requires a part of the name besides the full name."""
    first, _, last = card.name.partition(" ")
    name = {"formatted_name": card.name, "first_name": first, "last_name": last}
    numbers = ["".join(filter(str.isdecimal, phone)) for phone in card.phones]
    body = {
        "name": _without_empty(name),
        "phones": [{"phone": f"+{number}", "wa_id": number} for number in numbers],
        "emails": [{"email": email} for email in card.emails],
        "org": _without_empty({"company": card.organisation}),
    }
    return _without_empty(body)


def _template(template: Template) -> dict[str, Any]:
    body = {
        "name": template.name,
        "language": {"policy": "deterministic", "code": template.language},
        "components": [_component(each) for each in template.components],
    }
    return _without_empty(body)


def _component(component: Mapping[str, Any]) -> Mapping[str, Any]:
    """Render a component. Meta's documentation requires a button's index as a string."""
    index = component.get("index")
    return component if index is None else {**component, "index": str(index)}


def _without_empty(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value}
