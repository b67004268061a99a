"""Contacts as vCards."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from service.core.vcard import render
from service.models import Contact


def contact(name: str = "Ada Obi", organisation: str = "", **more: list[str]) -> Contact:
    phones, emails = more.get("phones", ["2348179803743"]), more.get("emails", [])
    return Contact(name=name, phones=phones, emails=emails, organisation=organisation)


def unfold(card: str) -> list[str]:
    return card.replace("\r\n ", "").split("\r\n")


def test_a_card_has_all_that_is_known() -> None:
    ada = contact(organisation="Acme", phones=["2348179803743", "447700900123"], emails=["a@b.ng"])
    assert render(ada) == (
        "BEGIN:VCARD\r\n"
        "VERSION:3.0\r\n"
        "N:;Ada Obi;;;\r\n"
        "FN:Ada Obi\r\n"
        "ORG:Acme\r\n"
        "TEL;TYPE=CELL;waid=2348179803743:+2348179803743\r\n"
        "TEL;TYPE=CELL;waid=447700900123:+447700900123\r\n"
        "EMAIL;TYPE=INTERNET:a@b.ng\r\n"
        "END:VCARD\r\n"
    )


def test_what_separates_values_is_escaped() -> None:
    assert r"FN:Obi\, Ada\; \\o/" in render(contact(r"Obi, Ada; \o/"))


def test_a_line_break_cannot_add_a_line() -> None:
    lines = unfold(render(contact("Ada\r\nTEL:+1\nX\u2028Y\x85Z")))
    assert r"FN:Ada\nTEL:+1\nX\nY\nZ" in lines
    assert not any(line.startswith("TEL:+1") for line in lines)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_no_line_is_longer_than_75_bytes_and_none_is_cut_inside_a_character(name: str) -> None:
    card = render(contact(name))
    assert all(len(line.encode()) <= 75 for line in card.split("\r\n"))
    [shown] = [line for line in unfold(card) if line.startswith("FN:")]
    unescaped = re.sub(r"\\(.)", lambda escaped: escaped[1].replace("n", "\n"), shown[3:])
    broken = re.sub("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", "\n", name)
    assert unescaped == broken
