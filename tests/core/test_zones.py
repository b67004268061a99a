"""The zones of a number, as libphonenumber and the countries that share a code have them."""

from __future__ import annotations

import zoneinfo

import phonenumbers
import pytest

from service.core import zones


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("2348031234567", ("Africa/Lagos",)),
        ("13105550110", ("America/Los_Angeles",)),
        ("5511987654321", ("America/Sao_Paulo",)),
        ("447400123456", ("Europe/London",)),
        ("18762101234", ("America/Jamaica",)),
        ("77011234567", ("Asia/Almaty", "Asia/Aqtobe")),
        ("34612345678", ("Atlantic/Canary", "Europe/Madrid")),
        ("870773111234", zones.UNKNOWN),
        ("120363025246125486@g.us", zones.UNKNOWN),
        ("US.1234567890", zones.UNKNOWN),
        ("0", zones.UNKNOWN),
    ],
)
def test_a_number_is_in_the_zones_of_its_area_or_country(
    recipient: str, expected: tuple[str, ...]
) -> None:
    assert zones.of(recipient) == expected


def test_a_mobile_number_may_be_anywhere_in_its_country() -> None:
    russia = zones.of("79161234567")
    assert {"Europe/Moscow", "Asia/Kamchatka"} <= set(russia)
    assert "Asia/Almaty" not in russia


def test_every_country_has_zones_that_this_machine_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "_MOST", 50)
    known = zoneinfo.available_timezones()
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if number is not None:
            text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            assert set(zones.of(text[1:])) <= known
            assert len(zones._KNOWN)  # noqa: SLF001 <= 50
