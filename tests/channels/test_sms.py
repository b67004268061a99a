"""Short messages: their alphabets and segments, and what a message becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.channels.content import (
    ContactCard,
    Content,
    Location,
    Template,
    UnsupportedContentError,
)
from service.channels.sms import messages, segments, senders
from service.channels.sms.segments import Alphabet, Counted
from tests.channels.conftest import picture

GSM, UCS2 = Alphabet.GSM, Alphabet.UCS2

COUNTS = [
    ("", Counted(GSM, 0, 1)),
    ("a" * 160, Counted(GSM, 160, 1)),
    ("a" * 161, Counted(GSM, 161, 2)),
    ("a" * 306, Counted(GSM, 306, 2)),
    ("a" * 307, Counted(GSM, 307, 3)),
    ("€" * 80, Counted(GSM, 160, 1)),
    ("€" * 81, Counted(GSM, 162, 2)),
    ("a" * 152 + "€" + "a" * 152, Counted(GSM, 306, 3)),  # the € does not fit whole
    ("ж" * 70, Counted(UCS2, 70, 1)),
    ("ж" * 71, Counted(UCS2, 71, 2)),
    ("😀" * 35, Counted(UCS2, 70, 1)),
    ("😀" * 67, Counted(UCS2, 134, 3)),  # 33 of them to a segment of 67 units
    ("ç", Counted(UCS2, 1, 1)),  # the alphabet has the capital letter only
]


@pytest.mark.parametrize(("text", "counted"), COUNTS)
def test_segments_are_counted_as_carriers_charge_them(text: str, counted: Counted) -> None:
    assert segments.count(text) == counted


@given(st.text(alphabet=st.sampled_from("aé€^{ж😀\n"), max_size=600))
def test_the_segments_of_a_text_are_the_text_and_each_fits(text: str) -> None:
    pieces = segments.split(text)
    assert "".join(pieces) == text
    assert len(pieces) == segments.count(text).segments
    limit = 153 if segments.coding_of(text).alphabet is GSM else 67
    if len(pieces) > 1:
        assert all(segments.count(piece).units <= limit for piece in pieces)


def test_typographic_characters_are_replaced_where_that_saves_segments() -> None:
    assert segments.tidied("\u201cDon\u2019t\u201d \u2013 wait…\u00a0") == '"Don\'t" - wait... '
    assert segments.tidied("“Здравствуйте”") == "“Здравствуйте”"


def test_the_gsm_alphabet_is_written_with_escapes() -> None:
    assert segments.GSM.encode("@A€") == b"\x00A\x1be"


def test_files_and_places_go_as_links_where_the_session_allows(tmp_path: Path) -> None:
    content = Content("Hi", (picture(tmp_path),), Location("6.5", "3.2", "Lagos"))
    (part,) = messages.plan(content, {"links": True, "tidy": True})
    assert part.body == (
        "Hi\nhttps://crier.example/public/attachments/JCEVJKGEFKSMR8W.jpeg\n"
        "Lagos\nhttps://www.google.com/maps/search/?api=1&query=6.5%2C3.2"
    )


REFUSED = [
    (Content(location=Location("6.5", "3.2")), {}, "message.location"),
    (Content(contact=ContactCard("Ada", "")), {"links": True}, "message.contactId"),
    (Content(template=Template("hello", "en")), {"links": True}, "message.template"),
    (Content("ж" * 671), {}, "message.text"),
]


@pytest.mark.parametrize(("content", "settings", "field"), REFUSED)
def test_what_sms_cannot_carry_is_refused_beforehand(
    content: Content, settings: dict[str, bool], field: str
) -> None:
    with pytest.raises(UnsupportedContentError) as caught:
        messages.plan(content, settings)
    assert caught.value.field == field


def test_a_file_without_a_public_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedContentError) as caught:
        messages.plan(Content(media=(picture(tmp_path, url=""),)), {"links": True})
    assert caught.value.field == "message.attachments.0"


@pytest.mark.parametrize(
    ("recipient", "country"),
    [
        ("12025550110", "the United States"),
        ("14165550110", "Canada"),
        ("17873331234", "Puerto Rico"),
        ("18765551234", ""),
        ("8613812345678", "China"),
        ("85291234567", ""),
        ("2348179803743", ""),
        ("1", ""),
    ],
)
def test_some_countries_take_no_names_as_senders(recipient: str, country: str) -> None:
    assert senders.refusing(recipient) == country
