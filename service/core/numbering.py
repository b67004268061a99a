"""Numbering: how to read a client's numbers, and which countries it sends to.

A region for national numbers is never guessed: a request or a client states it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from phonenumbers import PhoneMetadata, PhoneNumberDesc

from service.core import notations, numbers

_NATIONAL: Final = f"{numbers.NOWHERE}; or set `default_region` to the country of your numbers"
"""The reason that also tells how to send national numbers. It is one object for all of them."""

_NEVER: Final = r"(?!)"

Way = tuple[Callable[[str], str | None], Callable[[str], str]]
"""What returns a number in E.164 digits or None, and what says why in words to go behind it."""


class _Region(NamedTuple):
    """The data of a region for reading its national numbers."""

    name: str
    code: str
    abroad: re.Pattern[str]
    mobile: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Numbering:
    """A region for numbers without a country code, and the regions that all numbers must lie in.

    Each is an ISO 3166 code such as `NG`. Without a region, there are no national numbers; without
    regions, all are allowed.
    """

    default_region: str = ""
    regions: tuple[str, ...] = ()

    @classmethod
    def restore(cls, stored: Mapping[str, Any] | None) -> Numbering:
        """Return the stored numbering."""
        stored = stored or {}
        return cls(stored.get("default_region") or "", tuple(stored.get("regions") or ()))

    def merged(self, said: Mapping[str, Any]) -> Numbering:
        """Return this numbering with the fields of a request replaced."""
        return Numbering.restore({**self.stored(), **{k: v for k, v in said.items() if v}})

    def stored(self) -> dict[str, Any]:
        """Return the JSON to store."""
        return {"default_region": self.default_region, "regions": list(self.regions)}

    def way(self) -> Way:
        """Return the functions that read and explain numbers; without settings, the fast reader."""
        if not (self.default_region or self.regions):
            return numbers.normalise, self.reason
        return self.normalise, self.reason

    def normalise(self, written: str) -> str | None:
        """Return the E.164 digits of a number in use within the regions, None for anything else."""
        number = self.read(written)
        return number if number and self._reaches(number) else None

    def reason(self, written: str) -> str:
        """Return why `normalise` refuses a number, in words that follow the number."""
        if number := self.read(written):
            return f"is a number of {numbers.region(number)}, which is not one of your `regions`"
        if not self.default_region or notations.is_international(written):
            reason = numbers.reason(written)
            return _NATIONAL if reason is numbers.NOWHERE and not self.default_region else reason
        digits = notations.digits(written)
        if not digits:
            return notations.objection(written)
        return f"is not a number in use in {self.default_region}, nor an international one"

    def read(self, written: str) -> str | None:
        """Return the E.164 digits of a number in use, which may lie outside the regions."""
        if not self.default_region or notations.is_international(written):
            return numbers.normalise(written)
        digits = notations.digits(written)
        return _national(_region(self.default_region), digits) if digits else None

    def _reaches(self, number: str) -> bool:
        return not self.regions or numbers.region(number) in self.regions


INTERNATIONAL: Final = Numbering()
"""Numbers of all countries, each with its country code."""


def is_region(name: str) -> bool:
    """Return whether a region has this code."""
    try:
        _region(name)
    except KeyError:
        return False
    return True


def as_mobile(region: str, digits: str) -> bool:
    """Return whether digits are a region's mobile number without its code or a zero."""
    return _region(region).mobile.fullmatch(digits) is not None


def _national(region: _Region, digits: str) -> str | None:
    """Return the number that digits without `+` mean in a region.

    Digits that begin with the region's own code are read as international. Otherwise a mobile
    number of the region (which may have lost its zero) comes first, then a number of another
    country, then any other number of the region.
    """
    home = numbers.in_use(region.code + digits)
    if digits.startswith(region.code) and (own := numbers.in_use(digits)):
        return own
    if home and (digits.startswith("0") or not numbers.is_landline(home)):
        return home
    if abroad := region.abroad.match(digits):
        return numbers.in_use(digits[abroad.end() :]) or home
    return numbers.normalise(digits) or home


@cache
def _region(name: str) -> _Region:
    code, metadata = numbers.plan_of_region(name)
    return _Region(
        name,
        code,
        re.compile(metadata.international_prefix or _NEVER, re.ASCII),
        re.compile(_pattern(metadata), re.ASCII),
    )


def _pattern(metadata: PhoneMetadata) -> str:
    mobile = metadata.mobile or PhoneNumberDesc()
    lengths: Iterable[int] = mobile.possible_length
    sizes = "|".join(rf"\d{{{length}}}\Z" for length in lengths)
    return rf"(?={sizes or _NEVER})(?:{mobile.national_number_pattern or _NEVER})"
