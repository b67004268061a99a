"""Tests of the check of phone numbers. The judge of every verdict is libphonenumber itself."""

from __future__ import annotations

import importlib.util
import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberDesc, PhoneNumberFormat

from service.core import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
DIGITS = "0123456789"
TYPES = (
    "general_desc",
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)
PREFIXES = ("0", "00", "000", "000255", "003768", "015", "06", "021", "1", "1001", "15", "8", "80")
"""National prefixes and carrier codes of the world, also tried where they mean nothing."""


def judge(digits: str) -> str | None:
    """Return what libphonenumber makes of the digits."""
    try:
        number = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164).removeprefix("+")


def meant(digits: str) -> str | None:
    """Return what libphonenumber makes of the digits, or of those less a mark of mobile phones."""
    if digits.startswith("00"):
        return meant(digits[2:]) if digits[:3] != "000" else None
    unmarked = judge(digits[:2] + digits[3:]) if digits[:3] in {"521", "549"} else None
    if digits.startswith("549") and not (unmarked or "").startswith("549"):
        unmarked = None
    return judge(digits) or unmarked


def regions(code: int) -> list[PhoneMetadata]:
    found = (
        PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    )
    return [region for region in found if region]


def types(code: int) -> list[PhoneNumberDesc]:
    """Return all types of number of all regions that share a calling code."""
    found = (getattr(region, name) for region in regions(code) for name in TYPES)
    return [desc for desc in found if desc]


def examples(code: int) -> list[str]:
    """Return one national number of each of these types, where the metadata have one."""
    return [desc.example_number for desc in types(code) if desc.example_number]


def sample(code: int, size: int, chance: random.Random) -> Iterator[str]:
    """Yield numbers of a calling code, some in use, most a little beside them."""
    known = examples(code)
    prefixes = [region.national_prefix or "0" for region in regions(code)] + list(PREFIXES)
    for _ in range(size):
        yield str(code) + mutated(chance.choice(known), prefixes, chance)


def mutated(number: str, prefixes: list[str], chance: random.Random) -> str:
    """Return the national number with up to three digits changed, and perhaps more."""
    digits = list(number)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        digits[chance.randrange(len(digits))] = chance.choice(DIGITS)
    number = "".join(digits)
    noise = "".join(chance.choices(DIGITS, k=chance.randint(1, 12)))
    return chance.choice(
        (
            number,
            number,
            number,
            number + noise[:3],
            number[: chance.randint(0, len(number))],
            chance.choice(prefixes) + number,
            chance.choice(prefixes) + noise,
            noise[:4] + number,
            noise,
        )
    )


def test_verdict_and_form_are_those_of_libphonenumber_for_every_calling_code() -> None:
    chance = random.Random(20261124)  # noqa: S311 - a sample that is the same in every run
    differences = [
        (digits, numbers.normalise(digits), meant(digits))
        for code in CODES
        for digits in sample(code, 300, chance)
        if numbers.normalise(digits) != meant(digits)
    ]
    assert differences == []


def test_verdict_is_that_of_libphonenumber_for_any_start() -> None:
    chance = random.Random(20261124)  # noqa: S311 - as above
    starts = [f"{start:03}" for start in range(1000)] * 3
    every = [start + "".join(chance.choices(DIGITS, k=chance.randint(0, 12))) for start in starts]
    assert [numbers.normalise(digits) for digits in every] == [meant(digits) for digits in every]


@st.composite
def likely(draw: st.DrawFn) -> str:
    """Draw a number that the metadata describe, perhaps behind a prefix that they describe."""
    code = draw(st.sampled_from(CODES))
    patterns = [desc.national_number_pattern for desc in types(code)]
    number = draw(st.from_regex(draw(st.sampled_from(patterns)) or "", fullmatch=True))
    prefix = regions(code)[0].national_prefix_for_parsing
    if prefix and draw(st.booleans()):
        number = draw(st.from_regex(prefix, fullmatch=True)) + number
    # `\d` and `$` also stand for the digits of other scripts and for a line's end.
    return str(code) + re.sub("[^0-9]", "", number)


@given(likely())
def test_verdict_is_that_of_libphonenumber_for_what_its_patterns_describe(digits: str) -> None:
    assert numbers.normalise(digits) == meant(digits)


fillers = st.text(" -.()/[]\u00a0\u2011\uff0d\u200b", max_size=2)


@given(
    st.sampled_from(["12025550110", "442079460958", "23408179803743", "390612345678"]), st.data()
)
def test_verdict_is_that_of_libphonenumber_whatever_stands_between_the_digits(
    digits: str, data: st.DataObject
) -> None:
    written = data.draw(fillers) + "+" + "".join(each + data.draw(fillers) for each in digits)
    assert numbers.normalise(written) == judge(written.replace("+", ""))


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("++1 2025550110x", "is not a phone number"),
        ("234+8179803743", "is not a phone number"),
        ("234817980374x", "is not a phone number"),
        ("2348179803743\n2349048988056", "is more than one entry: send each one separately"),
        ("2348179803743\x00", "is not a phone number"),
        ("234817980374³", "is not a phone number"),
        ("\ud800", "is not a phone number"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("+", "is not a phone number: use international form, such as +1 202-555-0110"),
        ("08179803743", "has no known country calling code: use international form"),
        ("0002348179803743", "has no known country calling code"),
        ("9992348179803", "has no known country calling code"),
        ("1", "is too short for a number of country code 1"),
        ("234817980", "is too short for a number of country code 234"),
        ("2348179803743123456", "is too long for a number of country code 234"),
        ("2348179803743 2349048988056", "is too long for a number of country code 234"),
        ("447700900123", "is not a valid number of country code 44"),
        ("1" * 1_000_000, "is too long for a number of country code 1"),
        ("1 " * 500_000 + "1", "is not a phone number"),
        ("1 " * 500_000 + "x", "is not a phone number"),
        (" " * 1_000_000 + "x", "is not a phone number"),
    ],
)
def test_a_refusal_says_why(written: str, reason: str) -> None:
    assert numbers.normalise(written) is None
    assert numbers.reason(written).startswith(reason)


@pytest.mark.parametrize(
    ("number", "is_landline"),
    [
        ("2348179803743", False),
        ("442079460958", True),
        ("447911123456", False),
        ("12025550110", False),  # of one pattern with mobile phones
        ("390612345678", True),
        ("5491123456789", False),
        ("18005550100", False),
    ],
)
def test_a_landline_is_told_from_what_may_be_a_mobile_phone(number: str, is_landline: bool) -> None:  # noqa: FBT001 - a table
    assert numbers.normalise(number) == number
    assert numbers.is_landline(number) is is_landline


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_a_number_or_has_a_reason_why_not(text: str) -> None:
    assert numbers.normalise(text) or numbers.reason(text)


def test_equal_reasons_take_memory_once() -> None:
    assert numbers.reason("447700900123") is numbers.reason("447700900124")


def test_many_threads_that_start_at_once_agree() -> None:
    fresh = unused_copy()
    every = [f"{code}{number}" for code in CODES for number in examples(code)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda _: [fresh.normalise(digits) for digits in every], range(8)))
    assert verdicts == [[meant(digits) for digits in every]] * 8


def unused_copy() -> ModuleType:
    """Load the module once more, so that nothing is compiled in it yet."""
    spec = importlib.util.find_spec(numbers.__name__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh
