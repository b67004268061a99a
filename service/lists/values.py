"""The values of cells in readable form: numbers in full, dates in ISO 8601."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import Final

_DATES: Final = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
"""The built-in formats of dates and times (ECMA-376, part 1, 18.8.30)."""

_NOT_SHOWN: Final = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')
_DATE_SIGNS: Final = re.compile(r"[dmyhs]", re.IGNORECASE)
_EPOCH: Final = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - workbooks have no time zones
_EPOCH_1904: Final = dt.datetime(1904, 1, 1)  # noqa: DTZ001 - as above
_LONGEST_NUMBER: Final = 40
_DAY_SECONDS: Final = 86_400


def is_date(format_id: int, code: str = "") -> bool:
    """Return whether a format is for dates or times; `code` is the text of a custom format."""
    return format_id in _DATES or bool(_DATE_SIGNS.search(_NOT_SHOWN.sub("", code)))


def number(written: str) -> str:
    """Return a number in full: `1.2025550110E10` is `12025550110`, `12.50` is `12.5`."""
    if written.isdecimal() or len(written) > _LONGEST_NUMBER:
        return written
    try:
        value = Decimal(written).normalize()
    except InvalidOperation:
        return written
    # A workbook stores a double, so digits after the fifteenth are noise.
    if not value.is_finite() or abs(value.adjusted()) >= _LONGEST_NUMBER:
        return written
    text = format(value.quantize(Decimal(1)) if value == value.to_integral_value() else value, "f")
    return text if len(value.as_tuple().digits) <= 15 else _rounded(value)  # noqa: PLR2004


def _rounded(value: Decimal) -> str:
    return format(Decimal(f"{value:.15g}").normalize(), "f")


def date(written: str, *, since_1904: bool = False) -> str:
    """Return the date of a day count in a workbook; anything else stays unchanged."""
    try:
        days = float(written)
        moment = (_EPOCH_1904 if since_1904 else _EPOCH) + dt.timedelta(
            seconds=round(days * _DAY_SECONDS)
        )
    except (ValueError, OverflowError):
        return written
    if 0 <= days < 1:
        return moment.strftime("%H:%M")
    return shown(moment)


def shown(moment: dt.datetime) -> str:
    """Return a date and time, without the time if it is midnight."""
    is_day = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return moment.strftime("%Y-%m-%d") if is_day else moment.strftime("%Y-%m-%d %H:%M")


def iso(written: str) -> str:
    """Return an ISO 8601 date in display form; anything else stays unchanged."""
    try:
        return shown(dt.datetime.fromisoformat(written))
    except ValueError:
        return written
