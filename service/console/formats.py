"""Formats: numbers, moments and telephone numbers as the viewer writes them."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import phonenumbers
from babel import dates, numbers
from markupsafe import Markup, escape

from service.console import hours
from service.console.bars import words
from service.console.language import choose, gettext, language, locale, zone
from service.console.language import gettext as _
from service.database import now_ms
from service.schemas.fields import show_moment

_LEAST = 0.01
_BITS = 10
"""A unit of bytes is that power of 2 of the one before."""

_SHORTEST, _LONGEST = 7, 15


def number(value: float) -> str:
    """Return a number with the marks of the viewer's language."""
    return str(numbers.format_decimal(value, locale=locale()))


def decimal(value: float) -> str:
    """Return a number, with one decimal place if it is small."""
    return number(round(value, 1) if value < 10 else round(value))  # noqa: PLR2004 - two digits


def size(value: int) -> str:
    """Return a number of bytes in a unit in which it is short."""
    units = (_("%(n)s bytes"), _("%(n)s KiB"), _("%(n)s MiB"), _("%(n)s GiB"), _("%(n)s TiB"))
    power = min(max(0, value.bit_length() - 1) // _BITS, len(units) - 1)
    return units[power] % {"n": decimal(value / (1 << power * _BITS))}


def percent(part: float, whole: float) -> str:
    """Return a share; one that rounds to nothing or to all, without being that, is bounded."""
    share = part / whole if whole else 0.0
    if 0 < share < _LEAST:
        return f"<\u202f{_percent(_LEAST)}"
    if 1 - _LEAST < share < 1:
        return f">\u202f{_percent(1 - _LEAST)}"
    return _percent(share)


def money(value: float, currency: str) -> str:
    """Return an amount of a currency."""
    return str(numbers.format_currency(value, currency, locale=locale()))


def moment(milliseconds: int | None) -> Markup:
    """Return a moment in the viewer's zone, with the time alone if it is today."""
    if milliseconds is None:
        return Markup("")  # nosec
    local, today = _local(milliseconds), _local(now_ms())
    time = dates.format_time(local, "short", locale=locale())
    shown = time if local.date() == today.date() else f"{_day(local, today)}, {time}"
    full = dates.format_datetime(local, "full", locale=locale())
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        show_moment(milliseconds), full, shown
    )


def date(day: dt.date) -> str:
    """Return a day as the viewer writes it."""
    return str(dates.format_date(day, "medium", locale=locale()))


def clock(milliseconds: int) -> str:
    """Return the time of day, with the day if it is not today."""
    return moment(milliseconds).striptags()


def ago(milliseconds: int) -> str:
    """Return how long ago something was, in words."""
    seconds = (milliseconds - now_ms()) / 1000
    return str(
        dates.format_timedelta(
            dt.timedelta(seconds=seconds), add_direction=True, locale=locale(), threshold=1.2
        )
    )


def duration(seconds: float) -> str:
    """Return a span of time in words."""
    span = dt.timedelta(seconds=max(1, round(seconds)))
    return str(dates.format_timedelta(span, locale=locale(), threshold=1.2))


def phone(recipient: str) -> str:
    """Return a number as people write it; anything else stays as it is."""
    if recipient.isascii() and recipient.isdigit() and _SHORTEST <= len(recipient) <= _LONGEST:
        return _international(recipient)
    return recipient


def countries(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the names of countries with their numbers, the largest first."""
    names = locale().territories
    by_size = sorted(counted.items(), key=lambda each: -each[1])
    return [(names.get(code, code or "?"), count) for code, count in by_size]


def regions() -> list[tuple[str, str]]:
    """Return the codes and names of all countries that have telephone numbers, by name."""
    names = locale().territories
    named = [(code, names.get(code, code)) for code in phonenumbers.SUPPORTED_REGIONS]
    return sorted(named, key=lambda each: _without_accents(each[1]))


def _without_accents(text: str) -> bytes:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore")


def read_local(text: str) -> dt.datetime:
    """Return the time in a date-and-time field, in the viewer's zone; raises ValueError."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone())


def zone_name() -> str:
    """Return the name of the viewer's zone."""
    return str(dates.get_timezone_name(_local(now_ms()), width="short", locale=locale()))


FILTERS: dict[str, Any] = {
    "number": number,
    "decimal": decimal,
    "percent": percent,
    "money": money,
    "moment": moment,
    "ago": ago,
    "duration": duration,
    "phone": phone,
    "hours": hours.words,
    "date": date,
}
"""What templates may write behind a bar."""


def said(sentence: str, **values: object) -> Markup:
    """Return a sentence in the viewer's language, in which values are escaped."""
    return escape(gettext(sentence)) % values if values else escape(gettext(sentence))


def said_of(one: str, many: str, n: int, **values: object) -> Markup:
    """Return the sentence for so many; `%(n)s` stands for the number as the viewer writes it."""
    return escape(choose(one, many, n)) % {"n": number(n), **values}


FUNCTIONS: dict[str, Any] = {
    "_": said,
    "ngettext": said_of,
    "language": language,
    "state_words": words,
    "weekdays": hours.weekdays,
    "zones": hours.zones,
}


def _percent(share: float) -> str:
    return str(numbers.format_percent(share, locale=locale()))


def _local(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, zone())


def _day(local: dt.datetime, today: dt.datetime) -> str:
    skeleton = "MMMd" if local.year == today.year else "yMMMd"
    return str(dates.format_skeleton(skeleton, local, locale=locale()))


@lru_cache(maxsize=10_000)
def _international(digits: str) -> str:
    try:
        read = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return digits
    return str(phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.INTERNATIONAL))
