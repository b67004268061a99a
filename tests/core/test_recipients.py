"""Tests of how `to` is read."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import numbers, recipients
from service.core.recipients import BadEntry, Recipients

ADA = "2348179803743"
BEN = "2349048988056"
CHAT = "120363025343298765@g.us"
OLD_CHAT = "2348179803743-1586000000@g.us"
FIRST_GROUP = "64a00ec7c5e487d95dcb0d5e"
SECOND_GROUP = "64ac311eee05a1a2c27fbdb5"

blanks = st.sampled_from(["", " ", "\t", "\r\n", "  "])
fillers = st.sampled_from(["", "", "", " ", "-", " - ", "\u00a0", "\u2011"])


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a number in use and a way in which somebody may write it."""
    number = f"2348030{draw(st.integers(0, 40)):06}"
    inside = "".join(digit + draw(fillers) for digit in number[:-1]) + number[-1]
    return number, draw(blanks) + draw(st.sampled_from(["", "+"])) + inside + draw(blanks)


def test_the_guides_recipients_come_out_as_they_went_in() -> None:
    assert recipients.parse(f"{ADA},{BEN}") == Recipients((ADA, BEN), ())


def test_a_list_means_the_same_as_a_text() -> None:
    assert recipients.parse([ADA, BEN, "x"]) == recipients.parse(f"{ADA},{BEN},x")


def test_one_number_written_in_several_ways_is_one_recipient_at_its_first_position() -> None:
    to = f"{ADA}, {BEN}, +234 817 980 3743, 234-817-980-3743, 23408179803743"
    assert recipients.parse(to) == Recipients((ADA, BEN), ())


@pytest.mark.parametrize("to", ["", " ", "\n", ",", " , ", []])
def test_a_blank_to_has_no_entries(to: str | list[str]) -> None:
    assert recipients.parse(to) == Recipients((), ())


@pytest.mark.parametrize("end", ["", ",", ", ", " ,\n"])
def test_a_comma_at_the_end_is_no_entry(end: str) -> None:
    assert recipients.parse(ADA + end) == Recipients((ADA,), ())


def test_an_empty_entry_elsewhere_is_a_bad_one() -> None:
    assert recipients.parse(f",{ADA}, ,{BEN},,") == Recipients(
        (ADA, BEN),
        (BadEntry(0, "", "is empty"), BadEntry(2, "", "is empty"), BadEntry(4, "", "is empty")),
    )


def test_an_empty_text_in_a_list_is_a_bad_entry_even_at_the_end() -> None:
    assert recipients.parse([ADA, ""]).bad == (BadEntry(1, "", "is empty"),)


def test_every_bad_entry_has_its_position_its_beginning_and_a_reason() -> None:
    assert recipients.parse(f"{ADA}, 0817,{BEN},{'x' * 99}").bad == (
        BadEntry(1, "0817", numbers.reason("0817")),
        BadEntry(3, "x" * 40, numbers.reason("x")),
    )


def test_entries_of_a_million_characters_are_only_bad() -> None:
    huge = ["1" * 1_000_000, "1 " * 500_000 + "x", "\x00" * 1_000_000, "٣" * 1_000_000]
    bad = recipients.parse(",".join([ADA, *huge])).bad
    assert [entry.position for entry in bad] == [1, 2, 3, 4]
    assert {len(entry.entry) for entry in bad} == {40}


@given(st.lists(entries()))
def test_each_number_comes_out_once_in_the_order_of_first_mention(
    drawn: list[tuple[str, str]],
) -> None:
    expected = Recipients(tuple(dict.fromkeys(number for number, _ in drawn)), ())
    assert recipients.parse([way for _, way in drawn]) == expected
    assert recipients.parse(",".join(way for _, way in drawn)) == expected


@given(st.lists(entries().map(lambda drawn: drawn[1]) | st.sampled_from(["", "x", "44", "0" * 50])))
def test_what_came_out_comes_out_again(to: list[str]) -> None:
    unique = recipients.parse(to).unique
    assert recipients.parse(",".join(unique)) == Recipients(unique, ())


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from(",,,+ 234"), max_size=99))
def test_any_text_is_read_as_the_list_of_its_entries(to: str) -> None:
    listed = to.strip().removesuffix(",")
    assert recipients.parse(to) == recipients.parse(listed.split(",") if listed else [])


def test_entries_keep_their_positions_wherever_a_long_text_is_taken_apart() -> None:
    to = [f"234803{position:07}" for position in range(30_000)]
    bad = range(0, 30_000, 7)
    for position in bad:
        to[position] = f"0{position}"
    read = recipients.parse(",".join(to))
    assert read == recipients.parse(to)
    told = [(entry.position, entry.entry) for entry in read.bad]
    assert told == [(place, f"0{place}") for place in bad[: recipients.MOST_BAD]]
    assert read.bad_count == len(bad)
    assert len(read.unique) == 30_000 - len(bad)


def test_a_long_text_is_read_without_copies_of_all_its_entries() -> None:
    to = ",".join(f"+234803{position:07}" for position in range(100_000))
    recipients.parse(to[:1000])
    tracemalloc.start()
    try:
        unique = recipients.parse(to).unique
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(unique) == 100_000
    # 62 bytes a text, 8 a place in the tuple, some 50 a place in a dict that has just grown.
    assert peak / len(unique) < 150


def test_groups_are_ids_or_whatsapp_groups() -> None:
    to = f"{FIRST_GROUP}, {CHAT},{SECOND_GROUP},{OLD_CHAT},{FIRST_GROUP.upper()},"
    unique = (FIRST_GROUP, CHAT, SECOND_GROUP, OLD_CHAT)
    assert recipients.parse_groups(to) == Recipients(unique, ())
    assert [recipients.is_whatsapp_group(group) for group in unique] == [False, True, False, True]


@pytest.mark.parametrize(
    "entry", [ADA, "x@g.us", "@g.us", f"{CHAT}\n1@g.us", FIRST_GROUP[1:], "9" * 99 + "@g.us"]
)
def test_anything_else_is_no_group(entry: str) -> None:
    bad = BadEntry(1, entry[:40], recipients.NO_GROUP)
    assert recipients.parse_groups([FIRST_GROUP, entry]) == Recipients((FIRST_GROUP,), (bad,))


def test_an_empty_entry_is_no_group_either() -> None:
    assert recipients.parse_groups(f"{FIRST_GROUP},,{CHAT}").bad == (BadEntry(1, "", "is empty"),)
