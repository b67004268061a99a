"""Languages: the catalogue that a viewer reads, and the zone of their clock.

A catalogue is a `.po` file in `locales/`, read on first use, so nothing needs compiling. To add a
language, add a file and a line in `LANGUAGES`.
"""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import g

from service.blueprints.requests import request

LANGUAGES: Final = {"en": "English", "fr": "Français"}
"""The languages of the console, by themselves."""

LOCALES: Final = Path(__file__).parent / "locales"

LANGUAGE, ZONE, THEME = "crier_language", "crier_zone", "crier_theme"
"""The cookies of what a viewer prefers."""


def language() -> str:
    """Return the viewer's language: the chosen one, or else the browser's."""
    if "language" not in g:
        chosen = request.cookies.get(LANGUAGE, "")
        asked = (tag.lower().partition("-")[0] for tag, _quality in request.accept_languages)
        known = (name for name in (chosen, *asked) if name in LANGUAGES)
        g.language = next(known, "en")
    return str(g.language)


def locale() -> Locale:
    """Return the locale for numbers and dates, by the country that the browser names."""
    for tag, _quality in request.accept_languages:
        if tag.lower().startswith(f"{language()}-"):
            with suppress(UnknownLocaleError, ValueError):
                return Locale.parse(tag, sep="-")
    return Locale(language())


def zone() -> tzinfo:
    """Return the viewer's time zone from their browser, or else UTC."""
    return _zone(request.cookies.get(ZONE, ""))


def gettext(sentence: str, **values: object) -> str:
    """Return a sentence in the viewer's language, with values for its `%(name)s`."""
    said = _catalogue(language()).ugettext(sentence) if sentence else ""
    return said % values if values else said


def ngettext(one: str, many: str, n: int, **values: object) -> str:
    """Return the sentence for so many; `%(n)s` stands for the number."""
    return choose(one, many, n) % {"n": n, **values}


def choose(one: str, many: str, n: int) -> str:
    """Return the sentence for so many, with its places not filled in."""
    return str(_catalogue(language()).ungettext(one, many, n))


@cache
def _catalogue(name: str) -> NullTranslations:
    file = LOCALES / f"{name}.po"
    if not file.exists():
        return NullTranslations()
    compiled = io.BytesIO()
    with file.open("rb") as source:
        write_mo(compiled, read_po(source, locale=name))
    compiled.seek(0)
    return Translations(compiled)


@cache
def _known(name: str) -> tzinfo:
    return ZoneInfo(name)


def _zone(name: str) -> tzinfo:
    try:
        return _known(name)
    except (ValueError, OSError):
        # An empty or unknown name, or one that would lead out of the folder of zones.
        return ZoneInfo("UTC")
