"""Where words go."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.channels.captions import CAPTION_LIMIT, arrange, refuse_long, units
from service.channels.content import MediaKind, Text, UnsupportedContentError
from tests.channels.conftest import picture


def test_words_go_under_the_first_attachment_that_can_carry_them(tmp_path: Path) -> None:
    song = picture(tmp_path, kind=MediaKind.AUDIO)
    cake, film = picture(tmp_path), picture(tmp_path, kind=MediaKind.VIDEO)

    assert arrange("Hello", [song, cake, film]) == (song, replace(cake, caption="Hello"), film)


def test_words_stand_alone_where_no_attachment_can_carry_them(tmp_path: Path) -> None:
    song = picture(tmp_path, kind=MediaKind.AUDIO)

    assert arrange("Hello", [song]) == (Text("Hello"), song)


def test_a_caption_that_is_there_already_is_kept(tmp_path: Path) -> None:
    cake = picture(tmp_path, caption="A cake")

    assert arrange("Hello", [cake]) == (Text("Hello"), cake)


def test_words_longer_than_a_caption_go_in_front(tmp_path: Path) -> None:
    cake = picture(tmp_path)
    fitting, longer = "x" * CAPTION_LIMIT, "x" * (CAPTION_LIMIT + 1)

    assert arrange(fitting, [cake]) == (replace(cake, caption=fitting),)
    assert arrange(longer, [cake]) == (Text(longer), cake)


def test_a_caption_is_counted_in_utf_16(tmp_path: Path) -> None:
    cake = picture(tmp_path)
    fitting, longer = "🎂" * (CAPTION_LIMIT // 2), "🎂" * (CAPTION_LIMIT // 2) + "!"

    assert arrange(fitting, [cake]) == (replace(cake, caption=fitting),)
    assert arrange(longer, [cake]) == (Text(longer), cake)


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("Grüße", 5), ("🎂", 2), ("👩\u200d👧", 5), ("🇳🇬", 4), ("\uffff", 1)],
)
def test_an_emoji_is_two_units_or_more(text: str, size: int) -> None:
    assert units(text) == size == len(text.encode("utf-16-le")) // 2


def test_a_refusal_of_a_long_text_tells_how_it_was_counted() -> None:
    refuse_long("🎂" * 5, 10, "WhatsApp")
    with pytest.raises(UnsupportedContentError) as refusal:
        refuse_long("🎂" * 6, 10, "WhatsApp")
    assert refusal.value.field == "message.text"
    assert refusal.value.reason == (
        "WhatsApp accepts at most 10 characters and counts 12 here (an emoji is two or more)."
    )


def test_without_words_the_attachments_are_left_as_they_are(tmp_path: Path) -> None:
    assert arrange("", [picture(tmp_path)]) == (picture(tmp_path),)
