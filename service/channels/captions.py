"""Where the words of a message go when it has attachments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from service.channels.base import Media, MediaKind, Text

CAPTION_LIMIT = 1024
"""Characters that WhatsApp shows under a picture (the limit of the Cloud API)."""

CAPTIONED = frozenset({MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.DOCUMENT})
"""The kinds under which WhatsApp shows words; under a voice message it shows none."""


def arrange(text: str, media: Iterable[Media]) -> tuple[Text | Media, ...]:
    """Put the text under the first attachment that can carry it, or else in front of them all."""
    arranged = list(media)
    if not text:
        return tuple(arranged)
    if len(text) <= CAPTION_LIMIT:
        for position, each in enumerate(arranged):
            if each.kind in CAPTIONED and not each.caption:
                arranged[position] = replace(each, caption=text)
                return tuple(arranged)
    return (Text(text), *arranged)
