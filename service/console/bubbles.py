"""Bubbles: a message as the recipient's phone shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import url_for

from service.channels.content import ContactCard, Location, Media, Part, Text
from service.core import attachments, templates
from service.models import Attachment

_KINDS = {"image", "video", "audio"}
_LONGEST_TITLE = 120


class Bubble(NamedTuple):
    """One piece of a message.

    `kind` is text, image, video, audio, document, location, contact or template. `text` is the main
    text, `detail` the line below it, and `url` links to the file or the map.
    """

    kind: str
    text: str
    detail: str = ""
    url: str = ""


def of_content(content: Mapping[str, Any]) -> list[Bubble]:
    """Return the pieces of a broadcast's message, the text first."""
    pieces = [Bubble("text", content["text"])] if content["text"] else []
    pieces += [_media(media, media["file"]) for media in content["media"]]
    location, contact = content.get("location"), content.get("contact")
    if location:
        pieces.append(_location(location["lat"], location["lng"], location["name"]))
    if contact:
        pieces.append(_contact(contact))
    if template := content.get("template"):
        pieces.append(_template(template))
    return pieces


def of_sandbox(kind: str, body: Mapping[str, Any], files: Mapping[str, str]) -> list[Bubble]:
    """Return the pieces of what the sandbox received; `files` names those of attachments."""
    if kind == "media":
        media = _media(body, files.get(body["attachment_id"], ""))
        return [media, Bubble("text", body["caption"])] if body["caption"] else [media]
    if kind == "location":
        return [_location(body["latitude"], body["longitude"], body["name"])]
    if kind == "contactcard":
        return [_contact(body)]
    return [_template(body)] if kind == "template" else [Bubble("text", body.get("body", ""))]


def of_part(part: Part) -> Bubble:
    """Return a part of a message as one recipient would see it."""
    if isinstance(part, Text):
        return Bubble("text", part.body)
    if isinstance(part, Media):
        return Bubble(
            part.kind, part.filename, part.caption, url_for("files.show", file=part.path.name)
        )
    if isinstance(part, Location):
        return _location(part.latitude, part.longitude, part.name)
    if isinstance(part, ContactCard):
        return _contact({"name": part.name, "phones": part.phones})
    return _template({"name": part.name, "language": part.language, "components": part.components})


def of_attachment(attachment: Attachment) -> Bubble:
    """Return a stored file as a phone shows it; its kind follows from its type."""
    kind = attachment.mimetype.partition("/")[0]
    described = {"kind": kind, "filename": attachment.filename, "mimetype": attachment.mimetype}
    return _media(described, attachments.file_of(attachment))


def first_line(text: str) -> str:
    """Return the beginning of a text, for lists."""
    lines = text.strip().splitlines()
    return lines[0][:_LONGEST_TITLE] if lines else ""


def _media(media: Mapping[str, Any], file: str) -> Bubble:
    kind = media["kind"] if media["kind"] in _KINDS else "document"
    url = url_for("files.show", file=file) if file else ""
    return Bubble(kind, media["filename"] or file, str(media["mimetype"]), url)


def _location(latitude: str, longitude: str, name: str) -> Bubble:
    pin = f"https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=16"
    return Bubble("location", name, f"{latitude}, {longitude}", f"{pin}/{latitude}/{longitude}")


def _contact(contact: Mapping[str, Any]) -> Bubble:
    return Bubble("contact", contact["name"], ", ".join(f"+{each}" for each in contact["phones"]))


def _template(template: Mapping[str, Any]) -> Bubble:
    said = templates.parameters(template.get("components"))
    texts = (str(parameter.get("text")) for _, parameter in said)
    return Bubble("template", template["name"], " · ".join((template["language"], *texts)))
