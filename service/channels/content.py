"""The content of a message, as drivers get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class MediaKind(StrEnum):
    """How channels show a file."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Text:
    """A text message."""

    body: str


@dataclass(frozen=True, slots=True)
class Media:
    """A stored attachment with its caption."""

    attachment_id: str
    kind: MediaKind
    mimetype: str
    filename: str
    path: Path
    size: int
    url: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A location. Coordinates are in decimal degrees, as the client wrote them."""

    latitude: str
    longitude: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ContactCard:
    """A contact card. `vcard` is the same as a vCard 3.0 (RFC 2426)."""

    name: str
    vcard: str
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A message template that the provider has approved.

    `components` are its parameters, in the provider's own JSON
    (https://developers.facebook.com/docs/whatsapp/cloud-api/guides/send-message-templates).
    `when` says who gets it, see `core.service_windows`. `marketing`: it goes by WhatsApp's API for
    marketing messages.
    """

    name: str
    language: str
    components: tuple[Mapping[str, Any], ...] = ()
    when: str = ""
    marketing: bool = False


Part = Text | Media | Location | ContactCard | Template


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a broadcast, with all ids resolved."""

    text: str = ""
    media: tuple[Media, ...] = ()
    location: Location | None = None
    contact: ContactCard | None = None
    template: Template | None = None
    category: str = ""


class UnsupportedContentError(Exception):
    """The channel does not support a part of this message. `field` is its name in the API."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason
