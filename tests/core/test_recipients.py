"""Tests of how `to` is read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import entries, numbers, recipients
from service.core.entries import Given
from service.core.recipient_lists import BadEntry, Recipients
from service.core.recipients import Reading, Row
from service.documents import WrittenNumber
from service.models import SendType

ADA = "2348179803743"
BEN = "2349048988056"
CARL = "2348179803744"
CHAT = "120363025343298765@g.us"
OLD_CHAT = "2348179803743-1586000000@g.us"
FIRST_GROUP = "64a00ec7c5e487d95dcb0d5e"
SECOND_GROUP = "64ac311eee05a1a2c27fbdb5"

SEPARATING = ",;\u060c\u061b\u3001\uff0c\uff1b\n\r\t\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"

blanks = st.sampled_from(["", " ", "\t", "\r\n", "  "])
fillers = st.sampled_from(["", "", "", " ", "-", " - ", "\u00a0", "\u2011"])


@st.composite
def written_numbers(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a number in use and a way in which somebody may write it."""
    number = f"2348030{draw(st.integers(0, 40)):06}"
    inside = "".join(digit + draw(fillers) for digit in number[:-1]) + number[-1]
    return number, draw(blanks) + draw(st.sampled_from(["", "+"])) + inside + draw(blanks)


def test_the_guides_recipients_come_out_as_they_went_in() -> None:
    assert recipients.read(f"{ADA},{BEN}") == Recipients((ADA, BEN), ())


def test_a_list_means_the_same_as_a_text() -> None:
    assert recipients.read([ADA, BEN, "x"]) == recipients.read(f"{ADA},{BEN},x")


def test_one_number_written_in_several_ways_is_one_recipient_at_its_first_position() -> None:
    to = f"{ADA}, {BEN}, +234 817 980 3743, 234-817-980-3743, 23408179803743"
    assert recipients.read(to) == Recipients((ADA, BEN), ())


@pytest.mark.parametrize("to", ["", " ", "\n", ",", " , ", []])
def test_a_blank_to_has_no_entries(to: str | list[str]) -> None:
    assert recipients.read(to) == Recipients((), ())


@pytest.mark.parametrize("end", ["", ",", ", ", " ,\n"])
def test_a_comma_at_the_end_is_no_entry(end: str) -> None:
    assert recipients.read(ADA + end) == Recipients((ADA,), ())


def test_an_empty_entry_elsewhere_is_a_bad_one() -> None:
    assert recipients.read(f",{ADA}, ,{BEN},,") == Recipients(
        (ADA, BEN),
        (BadEntry(0, "", "is empty"), BadEntry(2, "", "is empty"), BadEntry(4, "", "is empty")),
    )


def test_an_empty_text_in_a_list_is_a_bad_entry_even_at_the_end() -> None:
    assert recipients.read([ADA, ""]).bad == (BadEntry(1, "", "is empty"),)


def test_every_bad_entry_has_its_position_its_beginning_and_a_reason() -> None:
    assert recipients.read(f"{ADA}, 0817,{BEN},{'x' * 99}").bad == (
        BadEntry(
            1, "0817", f"{numbers.NOWHERE}; or set `default_region` to the country of your numbers"
        ),
        BadEntry(3, "x" * 40, numbers.reason("x")),
    )


def test_entries_of_a_million_characters_are_only_bad() -> None:
    huge = ["1" * 1_000_000, "1 " * 500_000 + "x", "\x00" * 1_000_000, "٣" * 1_000_000]
    bad = recipients.read(",".join([ADA, *huge])).bad
    assert [entry.position for entry in bad] == [1, 2, 3, 4]
    assert {len(entry.entry) for entry in bad} == {40}


@given(st.lists(written_numbers()))
def test_each_number_comes_out_once_in_the_order_of_first_mention(
    drawn: list[tuple[str, str]],
) -> None:
    expected = Recipients(tuple(dict.fromkeys(number for number, _ in drawn)), ())
    assert recipients.read([way for _, way in drawn]) == expected
    assert recipients.read(",".join(way for _, way in drawn)) == expected


@given(
    st.lists(
        written_numbers().map(lambda drawn: drawn[1]) | st.sampled_from(["", "x", "44", "0" * 50])
    )
)
def test_what_came_out_comes_out_again(to: list[str]) -> None:
    unique = recipients.read(to).unique
    assert recipients.read(",".join(unique)) == Recipients(unique, ())


others = st.characters(exclude_categories=(), exclude_characters=SEPARATING)


@given(st.text(others | st.sampled_from(",,,+ 234"), max_size=99))
def test_any_text_is_read_as_the_list_of_its_entries(to: str) -> None:
    listed = to.strip().removesuffix(",")
    assert recipients.read(to) == recipients.read(listed.split(",") if listed else [])


@pytest.mark.parametrize(
    "to",
    [
        f"{ADA}\n{BEN}",
        f"{ADA}\r\n{BEN}\r\n",
        f"{ADA},\n{BEN},\n",
        f"{ADA}\n\n \n{BEN}",
        f"{ADA}\n,{BEN}",
        f"{ADA};{BEN}",
        f"{ADA}; {BEN};",
        f"{ADA};\r\n{BEN};\r\n",
        f"{ADA}\t{BEN}",
        f"{ADA}\u2028{BEN}",
        f"{ADA}\u060c {BEN}",
        f"{ADA}\uff0c{BEN}",
        f"+{ADA}\n'{BEN}",
        [int(ADA), int(BEN)],
        [ADA, int(BEN)],
        [WrittenNumber(f"{ADA}.0"), BEN],
    ],
)
def test_each_way_to_separate_numbers_makes_the_same_two_of_them(to: Given) -> None:
    assert recipients.read(to) == Recipients((ADA, BEN))


@pytest.mark.parametrize("to", [ADA, int(ADA), WrittenNumber(f"{ADA}.0"), [int(ADA)]])
def test_one_number_may_be_a_text_or_a_number(to: Given) -> None:
    read = recipients.read(to)
    assert read == Recipients((ADA,))
    assert read.shown is to


def test_a_number_that_a_spreadsheet_shortened_is_told_whatever_its_type() -> None:
    for to in ([WrittenNumber("2.34818E+12")], "2.34818E+12"):
        [bad] = recipients.read(to).bad
        assert bad == BadEntry(0, "2.34818E+12", numbers.reason("2.34818E+12"))


@pytest.mark.parametrize("form", [list, ",".join, "\n".join, ";\n".join])
def test_positions_are_those_of_entries_in_each_form(
    form: Callable[[list[str]], str | list[str]],
) -> None:
    read = recipients.read(form([CHAT, "bad", FIRST_GROUP, CHAT, "worse"]), SendType.GROUP)
    assert [entry.position for entry in read.bad] == [1, 4]
    assert {entry: read.places()[entry] for entry in read.unique} == {CHAT: 0, FIRST_GROUP: 2}


def test_no_more_is_read_than_may_be_sent_to() -> None:
    read = recipients.read(",".join(["x"] * 100_000), most=10)
    assert 10 < read.count < 100_000


def test_a_long_to_shows_its_first_recipients_in_the_form_that_it_had() -> None:
    to = [f"234803{position:07}" for position in range(1_001)]
    assert recipients.read(to[1:]).shown == to[1:]
    assert recipients.read(to).shown == to[:1_000]
    assert recipients.read(",".join(to)).shown == ",".join(to[:1_000])


def test_entries_keep_their_positions_wherever_a_long_text_is_taken_apart() -> None:
    to = [f"234803{position:07}" for position in range(30_000)]
    bad = range(0, 30_000, 37)
    for position in bad:
        to[position] = f"0{position}"
    read = recipients.read(",".join(to))
    assert read == recipients.read(to)
    told = [(entry.position, entry.entry) for entry in read.bad]
    assert told == [(place, f"0{place}") for place in bad]
    assert len(read.unique) == 30_000 - len(bad)


@pytest.mark.parametrize("form", [list, ",".join])
def test_no_more_is_read_after_many_bad_entries(
    form: Callable[[list[str]], str | list[str]],
) -> None:
    few = recipients.read(form(["x"] * 1_000 + [ADA] * 100_000))
    many = recipients.read(form(["x"] * 1_001 + [ADA] * 100_000))

    assert (few.bad_count, len(few.bad), few.count) == (1_000, 1_000, 101_000)
    assert many.bad_count == 1_001
    assert len(many.bad) == 1_000
    assert many.count < 40_000


def test_a_long_text_is_read_without_copies_of_all_its_entries() -> None:
    to = ",".join(f"+234803{position:07}" for position in range(100_000))
    recipients.read(to[:1000])
    tracemalloc.start()
    try:
        unique = recipients.read(to).unique
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(unique) == 100_000
    # 62 bytes a text, 8 a place in the tuple, some 50 a place in a dict that has just grown.
    assert peak / len(unique) < 150


def test_groups_are_ids_or_whatsapp_groups() -> None:
    to = f"{FIRST_GROUP}, {CHAT},{SECOND_GROUP},{OLD_CHAT},{FIRST_GROUP.upper()},"
    unique = (FIRST_GROUP, CHAT, SECOND_GROUP, OLD_CHAT)
    assert recipients.read(to, SendType.GROUP) == Recipients(unique, ())
    assert [entries.is_whatsapp_group(group) for group in unique] == [False, True, False, True]


@pytest.mark.parametrize(
    "entry", [ADA, "x@g.us", "@g.us", f"{CHAT}\n1@g.us", FIRST_GROUP[1:], "9" * 99 + "@g.us"]
)
def test_anything_else_is_no_group(entry: str) -> None:
    bad = BadEntry(1, entry[:40], entries.NO_GROUP)
    assert recipients.read([FIRST_GROUP, entry], SendType.GROUP) == Recipients(
        (FIRST_GROUP,), (bad,)
    )


def test_an_empty_entry_is_no_group_either() -> None:
    assert recipients.read(f"{FIRST_GROUP},,{CHAT}", SendType.GROUP).bad == (
        BadEntry(1, "", "is empty"),
    )


@pytest.mark.parametrize(
    "to",
    [f"{ADA}{' ' * 300_000},{BEN}", ADA + "\n" * 300_000 + BEN, [f"{' ' * 300_000}{ADA}", BEN]],
)
def test_blanks_without_end_are_not_given_back(to: Given) -> None:
    read = recipients.read(to)

    assert read == Recipients((ADA, BEN))
    assert read.is_truncated
    assert read.shown in (f"{ADA},{BEN}", [ADA, BEN])


def test_an_object_brings_variables_and_may_stand_between_plain_entries() -> None:
    to: Given = [
        ADA,
        {"to": f"+{BEN}", "variables": {"name": "Ben", "age": 7}},
        "x",
        {"to": int(CARL)},
    ]
    read = recipients.read(to)

    assert read == Recipients((ADA, BEN, CARL), (BadEntry(2, "x", numbers.reason("x")),))
    assert (read.count, read.bad_count, read.duplicates, read.shown) == (4, 1, 0, to)
    assert read.places() == {ADA: 0, BEN: 1, CARL: 3}
    assert read.variables is not None
    assert read.variables.texts == ["", '{"name":"Ben","age":"7"}', ""]
    other = recipients.read(to, names=frozenset({"city"})).variables
    assert other is not None
    assert ([*other.texts], other.seen) == (["", "", ""], {"name", "age"})


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"to": None},
        {"to": True},
        {"to": [ADA]},
        {"to": ADA, "name": "Ada"},
        {"to": ADA, "variables": "name"},
        {"to": ADA, "variables": []},
    ],
)
def test_an_object_of_another_form_is_a_bad_entry(entry: dict[str, Any]) -> None:
    assert recipients.read([BEN, entry]).bad == (BadEntry(1, "", recipients.NO_OBJECT),)


def test_variables_that_cannot_be_taken_make_a_bad_entry() -> None:
    [bad] = recipients.read([{"to": ADA, "variables": {"name": ["Ada"]}}]).bad
    assert bad == BadEntry(0, ADA, "has the variable 'name', which is no text and no number")


def test_who_is_named_twice_with_the_same_variables_is_one_and_with_others_a_bad_entry() -> None:
    same: dict[str, Any] = {"to": ADA, "variables": {"name": "Ada"}}
    other: dict[str, Any] = {"to": ADA, "variables": {"name": "Eda"}}
    read = recipients.read([BEN, same, f"{BEN}", same, other, ADA])

    assert (read.unique, read.duplicates) == ((BEN, ADA), 2)
    assert [(bad.position, bad.entry) for bad in read.bad] == [(4, ADA), (5, ADA)]
    assert read.bad[0].reason.startswith("is entry 1 too, with other variables: keep one")
    assert recipients.read([same, other], names=frozenset({"city"})).duplicates == 1


def test_no_more_rows_are_read_after_many_bad_ones_or_too_many_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = (Row(place, "x") for place in range(5_000))
    assert recipients.read_rows(rows, Reading()).count == 1_001
    monkeypatch.setattr(recipients, "MOST_BYTES", 100)
    rows = (Row(place, str(2348179803743 + place), {"name": "Ada"}) for place in range(100))
    assert recipients.read_rows(rows, Reading()).count == 8
    three = (Row(0, ADA), Row(1, BEN), Row(2, CARL))
    assert recipients.read_rows(three, Reading(), most=1).count == 2
