"""Where words go."""

from dataclasses import replace
from pathlib import Path

from service.channels.base import MediaKind, Text
from service.channels.captions import CAPTION_LIMIT, arrange
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


def test_without_words_the_attachments_are_left_as_they_are(tmp_path: Path) -> None:
    assert arrange("", [picture(tmp_path)]) == (picture(tmp_path),)
