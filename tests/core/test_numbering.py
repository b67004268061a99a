"""National numbers, and the countries that a client sends to."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from service.core import numbering, numbers
from service.core.numbering import INTERNATIONAL, Numbering

GERMANY = Numbering("DE")


@pytest.mark.parametrize(
    ("region", "written", "number"),
    [
        ("DE", "0151 23456789", "4915123456789"),
        ("DE", "15123456789", "4915123456789"),
        ("DE", "4915123456789", "4915123456789"),
        ("DE", "0049 (0)151 23456789", "4915123456789"),
        ("DE", "0234 123456", "49234123456"),
        ("DE", "2348179803743", "2348179803743"),
        ("DE", "+1 202 555 0110", "12025550110"),
        ("NG", "08179803743", "2348179803743"),
        ("NG", "8179803743", "2348179803743"),
        ("US", "(202) 555-0110", "12025550110"),
        ("US", "011 44 7911 123456", "447911123456"),
        ("IT", "06 698 12345", "390669812345"),
        ("DE", "123", None),
        ("DE", "https://wa.me/12025550110", "12025550110"),
    ],
)
def test_a_number_without_a_country_code_is_one_of_the_region(
    region: str, written: str, number: str | None
) -> None:
    assert Numbering(region).normalise(written) == number


def test_every_region_reads_its_own_numbers_in_all_forms() -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
        if example is None:
            continue
        number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        forms = (
            phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL),
            phonenumbers.national_significant_number(example),
            number,
            number[1:],
        )
        assert {Numbering(region).normalise(form) for form in forms} == {number[1:]}, region
        assert numbers.region(number[1:]) == phonenumbers.region_code_for_number(example)


def test_what_lies_outside_of_the_regions_is_told_so() -> None:
    west = Numbering("NG", ("NG", "GH"))
    assert west.normalise("+233 24 123 4567") == "233241234567"
    assert west.normalise("+1 202 555 0110") is None
    reason = west.reason("+1 202 555 0110")
    assert reason == "is a number of US, which is not one of your `regions`"
    assert west.reason("77") == "is not a number in use in NG, nor an international one"
    assert west.reason("2025-01-27") == (
        "was made a date by a spreadsheet: format the column as text"
    )


def test_without_a_word_about_them_numbers_are_read_the_quick_way() -> None:
    assert INTERNATIONAL.way()[0] is numbers.normalise
    assert INTERNATIONAL.merged({"default_region": "DE", "regions": None}) == GERMANY
    assert Numbering.restore(GERMANY.stored()) == GERMANY
    assert Numbering.restore(None) == INTERNATIONAL
    assert [numbering.is_region(name) for name in ("NG", "XX", "001", "Germany")] == [
        True,
        False,
        False,
        False,
    ]


def test_recipients_are_counted_by_country() -> None:
    people = [
        "2348179803743",
        "12025550110",
        "16135550110",
        "447400123456",
        "447781123456",
        "7@g.us",
    ]
    assert numbers.countries(people) == {"NG": 1, "US": 1, "CA": 1, "GB": 1, "GG": 1}


def test_a_number_without_a_country_leads_to_the_default_region() -> None:
    normalise, reason = Numbering().way()
    assert normalise("08031234560") is None
    assert reason("08031234560").endswith(
        "; or set `default_region` to the country of your numbers"
    )
    assert "default_region" not in Numbering("NG").reason("+9992348179803")
    assert reason("08031234560") is reason("08031234561")
