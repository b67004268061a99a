"""Captions: places the text of a message that has attachments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from service.channels.content import Media, MediaKind, Text, UnsupportedContentError

CAPTION_LIMIT = 1024
"""The most UTF-16 units of a caption (the limit of the Cloud API)."""

CAPTIONED = frozenset({MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.DOCUMENT})
"""Kinds of media with captions. Voice messages have none."""


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units, as WhatsApp and Telegram count.

    An emoji has two; a joined emoji has two for each part and one for each joiner.
    """
    return len(text) + sum(character > "\uffff" for character in text)


def refuse_long(text: str, limit: int, whose: str) -> None:
    """Raise UnsupportedContentError for a text with too many UTF-16 units."""
    if (size := units(text)) > limit:
        reason = f"{whose} accepts at most {limit:,} characters and counts {size:,} here"
        reason += " (an emoji is two or more)." if size > len(text) else "."
        raise UnsupportedContentError(field="message.text", reason=reason)


def arrange(text: str, media: Iterable[Media]) -> tuple[Text | Media, ...]:
    """Make the text the caption of the first attachment that can have one, or put it first."""
    arranged = list(media)
    if not text:
        return tuple(arranged)
    if units(text) <= CAPTION_LIMIT:
        for position, each in enumerate(arranged):
            if each.kind in CAPTIONED and not each.caption:
                arranged[position] = replace(each, caption=text)
                return tuple(arranged)
    return (Text(text), *arranged)
