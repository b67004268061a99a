"""Zones: the time zones in which the owner of a phone number may be, by the number alone."""

from __future__ import annotations

from typing import Final

import phonenumbers
from babel.core import get_global
from phonenumbers import timezone

from service.core import numbers

UNKNOWN: Final = ("UTC",)
"""The zone of who has none that is known: a WhatsApp group, a user id, a satellite phone."""

_NAMELESS: Final = (timezone.UNKNOWN_TIMEZONE,)

_ENDING: Final = 4
"""Digits at the end of a number that tell nothing about it: not its kind, and not its area."""

_MOST: Final = 200_000
_KNOWN: Final[dict[str, tuple[str, ...]]] = {}
"""The zones of numbers without their endings. libphonenumber takes 50 µs for one."""


def of(recipient: str) -> tuple[str, ...]:
    """Return the time zones of a recipient by their IANA names.

    They are several for a number that may be anywhere in a large country.
    """
    beginning = recipient[:-_ENDING]
    if beginning not in _KNOWN:
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        _KNOWN[beginning] = _look_up(recipient) if recipient.isdecimal() else UNKNOWN
    return _KNOWN[beginning]


def _look_up(number: str) -> tuple[str, ...]:
    try:
        parsed = phonenumbers.parse(f"+{number}")
    except phonenumbers.NumberParseException:
        return UNKNOWN
    found = timezone.time_zones_for_number(parsed)
    if found == _NAMELESS:
        found = timezone.time_zones_for_geographical_number(parsed)
    return UNKNOWN if found == _NAMELESS else _in_region(found, numbers.region(number))


def _in_region(zones: tuple[str, ...], region: str) -> tuple[str, ...]:
    """Leave out the zones of the other countries that share a calling code, such as +1 or +7."""
    territories = get_global("zone_territories")
    return tuple(each for each in zones if territories.get(each) == region) or tuple(zones)
