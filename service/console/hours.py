"""Hours: the windows of sessions and broadcasts, in forms and on pages."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from functools import cache
from typing import Any

from babel import dates

from service.blueprints.requests import request
from service.console import forms
from service.console.language import gettext as _
from service.console.language import locale
from service.core.hours import DAYS, RECIPIENT

FIELDS = ("from", "to", "zone")


def given() -> dict[str, Any] | None:
    """Return the window of a form in the API's format; None: no window."""
    window: dict[str, Any] = {name: forms.text(f"window.{name}") for name in FIELDS}
    if not (window["from"] or window["to"]):
        return None
    if days := request.form.getlist("window.days"):
        window["days"] = days
    return {name: value for name, value in window.items() if value}


def filled(window: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a form for a window."""
    return {f"window.{name}": value for name, value in (window or {}).items()}


def words(window: Mapping[str, Any]) -> str:
    """Return a window in words: its times, its days if not all, and its zone."""
    days = [name for value, name in weekdays() if value in window.get("days", ())]
    zone = window["zone"]
    where = _("by the clock of each recipient") if zone == RECIPIENT else zone
    times = f"{window['from']}\N{EN DASH}{window['to']}"
    return " · ".join([times, *([", ".join(days)] if days else []), where])


def weekdays() -> list[tuple[str, str]]:
    """Return the days of the week as the API names them, with their names."""
    names = dates.get_day_names("abbreviated", context="stand-alone", locale=locale())
    return [(day, names[number]) for number, day in enumerate(DAYS)]


@cache
def zones() -> list[str]:
    """Return the names of the time zones that are places."""
    return sorted(
        each
        for each in zoneinfo.available_timezones()
        if "/" in each and not each.startswith(("Etc/", "SystemV/", "posix/", "right/", "US/"))
    )
