"""Phone numbers: validates them and normalises them to E.164 digits.

Results equal libphonenumber's (`parse` with a leading `+`, `is_valid_number`, `format_number` as
E164) and use its metadata, but are many times faster: the rules of each country calling code are
compiled on first use into one regular expression.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc
from werkzeug.utils import cached_property

from service.core import notations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_COMMON = re.compile(r"[0-9+ ]{3}")
_NEVER = r"(?!)"
_NORTH_AMERICA = "1"
_CODES = frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))

NOWHERE = f"has no known country calling code: {notations.EXAMPLE}"


def normalise(written: str) -> str | None:
    """Return the E.164 digits, without `+`, of a valid number, None for anything else.

    The number must begin with its country calling code, in any notation that `notations` reads.
    Plain digits take about 0.4 µs.
    """
    if _CHECKS[written[:3]](written):
        return written
    digits = notations.digits(written)
    return in_use(digits) or _without_mark(digits)


def reason(written: str) -> str:
    """Return why `normalise` refuses a number, in words that follow the number.

    Equal reasons are the same object, so that a million of them take no memory.
    """
    digits = notations.digits(written)
    if not digits:
        return notations.objection(written)
    plan = _plan_of(digits)
    return plan.objection(digits) if plan else NOWHERE


def countries(people: Sequence[str]) -> dict[str, int]:
    """Count numbers in use by region, the most frequent first; other texts are left out.

    The first digits determine the region: four in North America, and nine are enough everywhere.
    """
    found: Counter[str] = Counter()
    for number, count in _by_head(people, 4):
        plan = _plan_of(number) if number.isdecimal() else None
        if plan and (plan.only_region or plan.code == _NORTH_AMERICA):
            found[plan.region(number)] += count
        elif plan:
            same = [each for each in people if each[:4] == number[:4]]
            for one, so_many in _by_head(same, 9):
                found[plan.region(one)] += so_many
    return dict(found.most_common())


def _by_head(people: Sequence[str], size: int) -> Iterator[tuple[str, int]]:
    """Yield one number for each prefix of that length, and how many numbers have it."""
    heads = [number[:size] for number in people]
    one = dict(zip(heads, people, strict=True))
    return ((one[head], count) for head, count in Counter(heads).items())


def is_landline(number: str) -> bool:
    """Return whether E.164 digits are a landline, and cannot be a mobile phone."""
    plan = _plan_of(number)
    return bool(plan and plan.landlines.fullmatch(number))


def region(number: str) -> str:
    """Return the region of a number in use, such as `NG`; `001` if it belongs to no country."""
    plan = _plan_of(number)
    return plan.region(number) if plan else ""


def in_use(digits: str) -> str | None:
    """Return these digits in E.164 form if all of them are a number in use, or else None."""
    if _CHECKS[digits[:3]](digits):
        return digits
    plan = _plan_of(digits)
    return plan.read(digits) if plan else None


def _without_mark(digits: str) -> str | None:
    """Return a number without a misplaced mobile prefix, or None.

    WhatsApp still writes Mexican numbers with the 1 that ended in 2019. Argentine mobile numbers
    have a 9 before the area code or a 15 after it, never both.
    """
    if digits.startswith("521"):
        return in_use(f"52{digits[3:]}")
    if digits.startswith("549"):
        number = in_use(f"54{digits[3:]}")
        return number if number and number.startswith("549") else None
    return None


class _Plan:
    """The numbering plan of one country calling code."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._regions = _regions(int(code))
        main = self._regions[0]
        general = main.general_desc or PhoneNumberDesc()
        self._lengths = general.possible_length
        self._local_lengths = general.possible_length_local_only
        self._general = re.compile(general.national_number_pattern or _NEVER, re.ASCII)
        self._prefix = re.compile(main.national_prefix_for_parsing or _NEVER, re.ASCII)
        self._rule = main.national_prefix_transform_rule
        self._short = f"is too short for a number of country code {code}"
        self._long = f"is too long for a number of country code {code}"
        self._unused = f"is not a valid number of country code {code}"

    @cached_property
    def plain(self) -> re.Pattern[str]:
        """Valid numbers, with their code, that cannot have a national prefix.

        Some prefix patterns (54's) match the empty string: only a longer match counts.
        """
        prefixed = rf"(?:{self._prefix.pattern})(?<!^{self.code})"
        return re.compile(rf"{self.code}(?!{prefixed})(?:{_in_use(self._regions)})", re.ASCII)

    @cached_property
    def _national(self) -> re.Pattern[str]:
        """Valid numbers, without their code."""
        return re.compile(_in_use(self._regions), re.ASCII)

    @cached_property
    def landlines(self) -> re.Pattern[str]:
        """Landline numbers, with their code, that cannot be mobile."""
        mobile = "|".join(_numbers(region.mobile) for region in self._regions if region.mobile)
        fixed = "|".join(
            _numbers(region.fixed_line) for region in self._regions if region.fixed_line
        )
        return re.compile(rf"{self.code}(?!{mobile or _NEVER})(?:{fixed or _NEVER})", re.ASCII)

    def read(self, digits: str) -> str | None:
        """Return the E.164 digits of a valid number that is not `plain`, None if not valid."""
        number = digits[len(self.code) :]
        prefix = self._prefix.match(number)
        if prefix is None:
            return None
        number = self._without(prefix)
        return self.code + number if self._national.fullmatch(number) else None

    def _without(self, prefix: re.Match[str]) -> str:
        """Remove the national prefix, unless the number is valid only with it."""
        number = prefix.string
        rest = self._rest(prefix)
        if self._general.fullmatch(number) and not self._general.fullmatch(rest):
            return number
        return rest if self._is_whole(len(rest)) else number

    def _rest(self, prefix: re.Match[str]) -> str:
        """Return the part after a national prefix, rewritten if the plan has a rule."""
        if self._rule and prefix[self._prefix.groups] is not None:
            return self._prefix.sub(self._rule, prefix.string, count=1)
        return prefix.string[prefix.end() :]

    def _is_whole(self, length: int) -> bool:
        """Return whether a length is enough for libphonenumber's `parse`."""
        if length in self._local_lengths:
            return False
        return length in self._lengths or length > self._lengths[-1]

    @property
    def only_region(self) -> str:
        """The region that has this code to itself, empty where several share it."""
        return self._regions[0].id if len(self._regions) == 1 else ""

    @cached_property
    def _by_region(self) -> list[tuple[str, re.Pattern[str]]]:
        """The patterns of each region's numbers, with their code, in matching order."""
        return [
            (region.id, re.compile(f"{self.code}(?:{_told_by(region)})", re.ASCII))
            for region in self._regions
        ]

    def region(self, number: str) -> str:
        """Return the region of a number in use."""
        if self.only_region:
            return self.only_region
        found = (name for name, pattern in self._by_region if pattern.match(number))
        return next(found, self._regions[0].id)

    def objection(self, digits: str) -> str:
        """Return why these digits are not a valid number."""
        length = len(digits) - len(self.code)
        if length < self._lengths[0]:
            return self._short
        return self._long if length > self._lengths[-1] else self._unused


class _Checks(dict[str, "Callable[[str], object]"]):
    """Checks for plain numbers by their first three digits, compiled on first use."""

    def __missing__(self, start: str) -> Callable[[str], object]:
        plan = _plan_of(start)
        check = (plan.plain if plan else re.compile(_NEVER)).fullmatch
        # Clients control the key, so cache only a bounded set.
        if _COMMON.fullmatch(start):
            self[start] = check
        return check


_CHECKS = _Checks()


def _plan_of(digits: str) -> _Plan | None:
    """Return the plan of these digits. No calling code is a prefix of another."""
    for size in (1, 2, 3):
        code = digits[:size]
        if code in _CODES:
            return _plan(code)
    return None


def plan_of_region(region: str) -> tuple[str, PhoneMetadata]:
    """Return the country calling code of a region and its metadata; raises KeyError."""
    metadata = PhoneMetadata.metadata_for_region(region, None) if len(region) == 2 else None  # noqa: PLR2004
    if metadata is None:
        raise KeyError(region)
    return str(metadata.country_code), metadata


@cache
def _plan(code: str) -> _Plan:
    return _Plan(code)


def _regions(code: int) -> list[PhoneMetadata]:
    """Return the regions that share a calling code, in matching order."""
    found = (
        PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        for region in COUNTRY_CODE_TO_REGION_CODE[code]
    )
    return [region for region in found if region]


def _in_use(regions: Sequence[PhoneMetadata]) -> str:
    """Return the pattern of valid national numbers in any of the regions.

    Like `region_code_for_number`, a number with a region's leading digits is checked only against
    that region. Leading digits are ignored if there is only one region.
    """
    if len(regions) == 1:
        return _in_use_in(regions[0])
    pattern = _NEVER
    for region in reversed(regions):
        here = _in_use_in(region)
        if region.leading_digits is None:
            pattern = rf"{here}|{pattern}"
        else:
            theirs = rf"(?:{region.leading_digits})"
            pattern = rf"(?={theirs}){here}|(?!{theirs})(?:{pattern})"
    return pattern


def _told_by(region: PhoneMetadata) -> str:
    """Return the pattern by which a number in use belongs to a region that shares its code."""
    return region.leading_digits or _in_use_in(region)


def _in_use_in(region: PhoneMetadata) -> str:
    """Return the pattern of numbers that fit a region and one of its number types."""
    types = "|".join(_numbers(desc) for desc in _types(region) if desc)
    return rf"(?={_numbers(region.general_desc or PhoneNumberDesc())})(?:{types})"


def _types(region: PhoneMetadata) -> Iterator[PhoneNumberDesc | None]:
    """Yield the number types that `is_valid_number` checks, most likely first."""
    if not region.same_mobile_and_fixed_line_pattern:
        yield region.mobile
    yield region.fixed_line
    yield region.toll_free
    yield region.premium_rate
    yield region.shared_cost
    yield region.personal_number
    yield region.voip
    yield region.pager
    yield region.uan
    yield region.voicemail


def _numbers(desc: PhoneNumberDesc) -> str:
    """Return the pattern of the numbers of one type, up to the end of the string."""
    lengths = "|".join(rf"\d{{{length}}}\Z" for length in desc.possible_length)
    return rf"(?={lengths})(?:{desc.national_number_pattern or _NEVER})\Z"
