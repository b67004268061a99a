"""The forms of a number that WhatsApp may name instead of the one that was written to."""

from __future__ import annotations

import pytest

from service.channels.wa_ids import spellings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5511987654321", "551187654321"),
        ("5215512345678", "525512345678"),
        ("5491123456789", "541123456789"),
    ],
)
def test_in_three_countries_a_number_has_two_forms(one: str, other: str) -> None:
    assert spellings(one) == [one, other]
    assert spellings(other) == [other, one]


@pytest.mark.parametrize(
    "wa_id", ["", "2348179803743", "12025550110", "55119876543210", "CC.55119"]
)
def test_elsewhere_it_has_one(wa_id: str) -> None:
    assert spellings(wa_id) == [wa_id]
