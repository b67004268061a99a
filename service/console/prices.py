"""Prices of sessions in a form: each line has a country and its price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.console import forms
from service.console.language import gettext as _
from service.errors import InvalidError

_CURRENCY, _COUNTRIES = "prices.currency", "prices.countries"


def given() -> dict[str, Any] | None:
    """Return the prices of a form as the API would take them; None: none.

    Raises InvalidError for a line that is not a country and a price.
    """
    currency, lines = forms.text(_CURRENCY).upper(), forms.lines(_COUNTRIES)
    if not (currency or lines):
        return None
    return {"currency": currency, "countries": dict(map(_price, lines))}


def filled(prices: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the fields of a form for prices."""
    if not prices:
        return {}
    lines = (f"{country} {price}" for country, price in prices["countries"].items())
    return {_CURRENCY: prices["currency"], _COUNTRIES: "\n".join(lines)}


def _price(line: str) -> tuple[str, float]:
    country, _blank, price = line.replace("=", " ").replace(":", " ").partition(" ")
    try:
        return country.upper(), float(price.strip().replace(",", "."))
    except ValueError as error:
        reason = _("“%(line)s” is not a country and a price, such as NG 0.05.", line=line[:40])
        raise InvalidError(errors={_COUNTRIES: [reason]}) from error
