"""Lists whose numbers are national and lost their zero: many are numbers of somebody else abroad.

A German mobile number begins with `0151`. A spreadsheet keeps it as a number, without the zero:
read as an international one, that is a telephone in Texas. A single such number looks like one of
the United States. A whole list can be recognised: its numbers lie in unrelated countries, or area
codes of North America, but each is a mobile number of one other country.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Final

from phonenumbers import SUPPORTED_REGIONS

from service.core import notations, numbering, numbers

_SAMPLE: Final = 500
"""How many numbers are looked at."""

_FEWEST: Final = 3
"""The fewest numbers, and the fewest country codes, that make a list suspect."""

_LOOKED_AT: Final = 5_000
"""Entries that are looked at: of many, none may be bare numbers."""

_MOSTLY: Final = 0.95
_CHANCE: Final = 0.01
"""The chance at which a list of North America is taken for one of lost zeros though it is none."""

_NORTH_AMERICA: Final = "1"
_AREA: Final = 4


def suspect(written: Iterable[str]) -> list[str]:
    """Return the regions whose mobile numbers, without zeros, a list may contain.

    `written` are the entries as given; those with a `+` or `00` are ignored.
    """
    bare = list(islice(_bare(written), _SAMPLE))
    valid = [number for digits in bare if (number := numbers.normalise(digits))]
    found = _destinations(valid)
    refused = len(bare) - len(valid)
    if not found or max(len(found), refused) < _FEWEST:
        return []
    home = {numbers.region(number) for number in valid}
    possible = (region for region in sorted(SUPPORTED_REGIONS - home) if _are_mobiles(region, bare))
    return [region for region in possible if _is_told(region, found, refused / len(bare))]


def _bare(written: Iterable[str]) -> Iterator[str]:
    """Yield the digits of entries that do not say whether they begin with a country code."""
    for entry in islice(written, _LOOKED_AT):
        if not notations.is_international(entry) and (digits := notations.digits(entry)):
            yield digits


def _destinations(valid: Iterable[str]) -> set[str]:
    """Return the destinations of numbers: area codes in North America, regions elsewhere."""
    return {
        number[:_AREA] if number.startswith(_NORTH_AMERICA) else numbers.region(number)
        for number in valid
    }


def _are_mobiles(region: str, bare: Sequence[str]) -> bool:
    """Return whether nearly all entries of a list are mobile numbers of a region."""
    others = int((1 - _MOSTLY) * len(bare))
    strange = (digits for digits in bare if not numbering.as_mobile(region, digits))
    return next(islice(strange, others, None), None) is None


def _is_told(region: str, found: Collection[str], refused: float) -> bool:
    """Tell a list of lost zeros from one that by chance could be one.

    What is no number at all abroad is one at home; countries that have nothing in common have that
    in common; and so have area codes, if there are enough of them.
    """
    areas = sum(place.isdecimal() for place in found)
    if refused >= 1 - _MOSTLY or len(found) - areas >= _FEWEST:
        return True
    return bool(areas) and _by_chance(region) ** areas < _CHANCE


@cache
def _by_chance(region: str) -> float:
    """Return the share of North American area codes whose numbers look like mobiles of a region."""
    areas = [
        number
        for area in range(200, 1_000)
        if (number := numbers.normalise(f"1{area}2345678") or numbers.normalise(f"1{area}5550123"))
    ]
    return sum(numbering.as_mobile(region, number) for number in areas) / len(areas)
