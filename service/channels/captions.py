"""Where the words of a message go when it has attachments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from service.channels.base import Media, MediaKind, Text, UnsupportedContentError

CAPTION_LIMIT = 1024
"""UTF-16 units that WhatsApp shows under a picture (the limit of the Cloud API)."""

CAPTIONED = frozenset({MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.DOCUMENT})
"""The kinds under which WhatsApp shows words; under a voice message it shows none."""


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units, by which WhatsApp and Telegram count.

    An emoji takes two, one that is joined of several takes two for each and one for each joiner.
    """
    return len(text) + sum(character > "\uffff" for character in text)


def refuse_long(text: str, limit: int, whose: str) -> None:
    """Raise UnsupportedContentError for a text of more UTF-16 units than a channel takes."""
    if (size := units(text)) > limit:
        reason = f"{whose} takes at most {limit:,} characters, and counts {size:,} here"
        reason += ": an emoji is two or more." if size > len(text) else "."
        raise UnsupportedContentError(field="message.text", reason=reason)


def arrange(text: str, media: Iterable[Media]) -> tuple[Text | Media, ...]:
    """Put the text under the first attachment that can carry it, or else in front of them all."""
    arranged = list(media)
    if not text:
        return tuple(arranged)
    if units(text) <= CAPTION_LIMIT:
        for position, each in enumerate(arranged):
            if each.kind in CAPTIONED and not each.caption:
                arranged[position] = replace(each, caption=text)
                return tuple(arranged)
    return (Text(text), *arranged)
