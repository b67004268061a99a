"""Phone numbers: which are in use, and how they are written in E.164 digits.

Verdicts and results are those of libphonenumber (`parse` with a leading `+`, `is_valid_number`,
`format_number` as E164) and come from its metadata, but many times faster: all that is known of a
country calling code is compiled, when first asked for, into one regular expression.
"""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import TYPE_CHECKING

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc

from service.core import notations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_COMMON = re.compile(r"[0-9+ ]{3}")
_NEVER = r"(?!)"
_CODES = frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))

_NOWHERE = f"has no known country calling code: {notations.EXAMPLE}"


def normalise(written: str) -> str | None:
    """Return the E.164 digits, without `+`, of a number in use, and None of anything else.

    The number begins with its country calling code, and is written in any way that `notations`
    reads. Bare digits take about 0.4 µs.
    """
    if _CHECKS[written[:3]](written):
        return written
    digits = notations.digits(written)
    return _read(digits) or _without_mark(digits)


def reason(written: str) -> str:
    """Say what is wrong with a number that `normalise` refuses, in words to go behind it.

    Equal reasons are one and the same object, so that a million of them take no memory.
    """
    digits = notations.digits(written)
    if not digits:
        return notations.objection(written)
    plan = _plan_of(digits)
    return plan.objection(digits) if plan else _NOWHERE


def is_landline(number: str) -> bool:
    """Tell a fixed line, by its E.164 digits, from what is or may be a mobile phone."""
    plan = _plan_of(number)
    return bool(plan and plan.landlines.fullmatch(number))


def _read(digits: str) -> str | None:
    if _CHECKS[digits[:3]](digits):
        return digits
    plan = _plan_of(digits)
    return plan.read(digits) if plan else None


def _without_mark(digits: str) -> str | None:
    """Return the number that has a mark of mobile phones where it does not belong.

    WhatsApp writes Mexico's numbers with the 1 that ended in 2019. Argentina's has its 9 in front
    of the area or its 15 behind it, never both.
    """
    if digits.startswith("521"):
        return _read(f"52{digits[3:]}")
    if digits.startswith("549"):
        number = _read(f"54{digits[3:]}")
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
        self._unused = f"is not a number in use in country code {code}"

    @cached_property
    def plain(self) -> re.Pattern[str]:
        """The numbers in use, with their code, that cannot be taken to have a national prefix.

        Some prefixes (54's) also match nothing at all: only what is longer than the code counts.
        """
        prefixed = rf"(?:{self._prefix.pattern})(?<!^{self.code})"
        return re.compile(rf"{self.code}(?!{prefixed})(?:{_in_use(self._regions)})", re.ASCII)

    @cached_property
    def _national(self) -> re.Pattern[str]:
        """The numbers in use, without their code."""
        return re.compile(_in_use(self._regions), re.ASCII)

    @cached_property
    def landlines(self) -> re.Pattern[str]:
        """The numbers of fixed lines, with their code, that no mobile phone can have."""
        mobile = "|".join(_numbers(region.mobile) for region in self._regions if region.mobile)
        fixed = "|".join(
            _numbers(region.fixed_line) for region in self._regions if region.fixed_line
        )
        return re.compile(rf"{self.code}(?!{mobile or _NEVER})(?:{fixed or _NEVER})", re.ASCII)

    def read(self, digits: str) -> str | None:
        """Return the E.164 digits of a number in use that is not `plain`, None if it is neither."""
        number = digits[len(self.code) :]
        prefix = self._prefix.match(number)
        if prefix is None:
            return None
        number = self._without(prefix)
        return self.code + number if self._national.fullmatch(number) else None

    def _without(self, prefix: re.Match[str]) -> str:
        """Return the number less its national prefix, unless it makes sense only with it."""
        number = prefix.string
        rest = self._rest(prefix)
        if self._general.fullmatch(number) and not self._general.fullmatch(rest):
            return number
        return rest if self._is_whole(len(rest)) else number

    def _rest(self, prefix: re.Match[str]) -> str:
        """Return what follows a national prefix, rewritten where the plan has a rule for it."""
        if self._rule and prefix[self._prefix.groups] is not None:
            return self._prefix.sub(self._rule, prefix.string, count=1)
        return prefix.string[prefix.end() :]

    def _is_whole(self, length: int) -> bool:
        """Tell whether that many digits are not too few, as libphonenumber's `parse` sees it."""
        if length in self._local_lengths:
            return False
        return length in self._lengths or length > self._lengths[-1]

    def objection(self, digits: str) -> str:
        """Say why these are not the digits of a number in use."""
        length = len(digits) - len(self.code)
        if length < self._lengths[0]:
            return self._short
        return self._long if length > self._lengths[-1] else self._unused


class _Checks(dict[str, "Callable[[str], object]"]):
    """The check for plain numbers that begin with these three digits, made when first needed."""

    def __missing__(self, start: str) -> Callable[[str], object]:
        plan = _plan_of(start)
        check = (plan.plain if plan else re.compile(_NEVER)).fullmatch
        # Whatever a client sends comes by here: only what is bounded is kept.
        if _COMMON.fullmatch(start):
            self[start] = check
        return check


_CHECKS = _Checks()


def _plan_of(digits: str) -> _Plan | None:
    """Return the plan that these digits fall under; no calling code begins with another one."""
    for size in (1, 2, 3):
        code = digits[:size]
        if code in _CODES:
            return _plan(code)
    return None


@cache
def _plan(code: str) -> _Plan:
    return _Plan(code)


def _regions(code: int) -> list[PhoneMetadata]:
    """Return the regions that share a calling code, in the order in which they are asked."""
    found = (
        PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        for region in COUNTRY_CODE_TO_REGION_CODE[code]
    )
    return [region for region in found if region]


def _in_use(regions: Sequence[PhoneMetadata]) -> str:
    """Return the pattern of the national numbers in use in any of the regions.

    As `region_code_for_number` does, leave the verdict on a number that begins with a region's
    leading digits to that region alone, and do not look at those of one that has no neighbours.
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


def _in_use_in(region: PhoneMetadata) -> str:
    """Return the pattern of the numbers that fit a region and one of its types of number."""
    types = "|".join(_numbers(desc) for desc in _types(region) if desc)
    return rf"(?={_numbers(region.general_desc or PhoneNumberDesc())})(?:{types})"


def _types(region: PhoneMetadata) -> Iterator[PhoneNumberDesc | None]:
    """Yield what `is_valid_number` looks at, the most likely first."""
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
    """Return the pattern of the numbers of one type, up to the end of the text."""
    lengths = "|".join(rf"\d{{{length}}}\Z" for length in desc.possible_length)
    return rf"(?={lengths})(?:{desc.national_number_pattern or _NEVER})\Z"
