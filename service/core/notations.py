"""Notations: extracts the digits of a phone number as people and programs write it.

Phone contacts, WhatsApp, web pages and spreadsheets each add their own marks around a number.
Anything ambiguous is refused.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

_LONGEST: Final = 500
"""The most characters of a written number, including links."""

_FILLERS: Final = " -./()[]"
"""Characters between digits, after spaces and dashes of any width are normalised."""

_WITHOUT_FILLERS: Final = str.maketrans("", "", _FILLERS)
_SIMPLE: Final = re.compile(r"[0-9+(][0-9+ ()-]*")
_FULL_WIDTH: Final = range(0xFF01, 0xFF5F)
_DASHES: Final = frozenset("\u2212\u30fc")
"""Characters that people type as a dash: the minus sign and Japanese's long vowel mark."""

_QUOTED: Final = re.compile(r"""=?(["'])(.*)\1""")
_QUOTES: Final = {
    **dict.fromkeys("\u2018\u2019\u201a\u2032`", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u2033", '"'),
}
"""Quotation marks of all languages, read as ASCII quotes."""


_LINK: Final = re.compile(
    r"(?:(?:https?://)?(?:www\.)?wa\.me/"
    r"|(?:(?:https?://)?(?:(?:www|api|web)\.)?whatsapp\.com|whatsapp:/)/send/?\?(?:[^#]*&)?phone=)"
    r"(?P<number>[^/?&#]+)(?:[/?&#].*)?",
    re.IGNORECASE,
)
"""Click to chat (https://faq.whatsapp.com/5913398998672934)."""

_SCHEME: Final = re.compile(
    r"(?:tel|callto|sms|smsto|whatsapp|p):(?P<number>[^;?]+)"
    r"(?:;phone-context=(?P<context>\+[0-9.()-]+))?(?:\?.*)?",
    re.IGNORECASE,
)
"""Phone URIs (RFC 3966) and similar prefixes. Facebook's lead exports use `p:`."""

_CHAT: Final = re.compile(
    r"(?P<number>[0-9]+)(?:[.:_][0-9]+)*@(?:c\.us|s\.whatsapp\.net)", re.IGNORECASE
)
"""A WhatsApp chat id of a person, with an optional device id."""

_DIFFERENCE: Final = re.compile(r"-[0-9.,]+\Z")
"""A negative number, as a spreadsheet makes of `1-2025550110`. A dash and a space mark a list."""

_FRACTION: Final = re.compile(r"(?P<number>\+?[0-9]{7,})[.,]0+")
_EXPONENT: Final = re.compile(
    r"\+?(?P<first>[0-9])(?:[.,](?P<rest>[0-9]+))?e\+?(?P<exponent>[0-9]{1,2})", re.IGNORECASE
)

EMPTY: Final = "is empty"
EXAMPLE: Final = "use international form, such as +1 202-555-0110"
MALFORMED: Final = f"is not a phone number: {EXAMPLE}"
SHORTENED: Final = "was shortened by a spreadsheet and has lost digits: format the column as text"
SUBTRACTED: Final = "is negative: a spreadsheet has subtracted its parts. Format the column as text"
DATED: Final = "was made a date by a spreadsheet: format the column as text"
_DATE: Final = re.compile(r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}(?: [0-9:]{5})?\Z")
_REASONS: Final = (
    (_DIFFERENCE, SUBTRACTED),
    (re.compile(r"\+?[0-9.,]+e\+?[0-9]{1,2}\Z", re.IGNORECASE), SHORTENED),
    (re.compile(r".*@g\.us", re.IGNORECASE), 'is a WhatsApp group: set "send_type" to "group"'),
    (
        re.compile(r".*@lid", re.IGNORECASE),
        "is an id that WhatsApp uses to hide a number: send the phone number",
    ),
    (
        re.compile(r"[^;]*[0-9][ ,;]*(?:;?ext[.=:]?|[x#~]) ?[0-9]+", re.IGNORECASE),
        "has an extension, which messages cannot reach: send the number without it",
    ),
    (re.compile(r".*[\n\r\t,;]", re.DOTALL), "is more than one entry: send each one separately"),
)
"""Common mistakes and what to do about them. Equal reasons are the same object."""


def digits(written: str) -> str:
    """Return the digits of an international number without `+` or `00`, empty if it is not one."""
    text = written.strip()
    number = text.removeprefix("+")
    if not (number.isascii() and number.isdecimal()):
        if len(text) > _LONGEST or _DATE.match(text):
            return ""
        text = (text if _SIMPLE.fullmatch(text) else _unwrapped(text)).lstrip(_FILLERS)
        number = text.lstrip("+").translate(_WITHOUT_FILLERS)
        if not number.isdecimal():
            return ""
    return number.removeprefix("00") if number[:2] == "00" and text[:1] != "+" else number


def is_international(written: str) -> bool:
    """Return whether a number shows that it begins with a country calling code."""
    text = written.strip()
    if not (text.isascii() and text.isdecimal()):
        text = _plain(text)
        if "+" in text or _LINK.fullmatch(text) or _CHAT.fullmatch(text):
            return True
        text = text.translate(_WITHOUT_FILLERS)
    return text.startswith("00")


def objection(written: str) -> str:
    """Return why `digits` found none, in words that follow the written number."""
    text = _plain(written.strip()[: _LONGEST + 1])
    if not text:
        return EMPTY
    if _DATE.match(text):
        return DATED
    return next((reason for form, reason in _REASONS if form.match(text)), MALFORMED)


def _unwrapped(text: str) -> str:
    """Remove quotation marks, links and chat addresses around a number."""
    text = _plain(text)
    found = _LINK.fullmatch(text) or _SCHEME.fullmatch(text)
    if found:
        number = unquote(found["number"]).strip()
        context = found.groupdict().get("context") or ""
        return number if number.startswith("+") else context + number
    found = _CHAT.fullmatch(text) or _FRACTION.fullmatch(text)
    if found:
        return found["number"]
    return "" if _DIFFERENCE.match(text) else _whole(text)


def _plain(text: str) -> str:
    """Convert a string to ASCII where possible, and remove invisible characters."""
    text = text.translate(_PLAIN).strip()
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2]
    return text.lstrip("'=").strip()


def _whole(text: str) -> str:
    """Return the digits of `2.348179803743E12` if they are complete, otherwise the same string."""
    found = _EXPONENT.fullmatch(text)
    if found is None:
        return text
    rest, size = found["rest"] or "", int(found["exponent"])
    return found["first"] + rest[:size] if len(rest) >= size and not rest[size:].strip("0") else ""


class _Plain(dict[int, str]):
    """Character replacements: digits of all scripts, spaces and dashes of any width.

    Format characters are removed. Unchanged characters are not cached.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        meant = _meant(character)
        if meant != character:
            self[code] = meant
        return meant


def _meant(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Cf":
        return ""
    if category == "Zs":
        return " "
    if character in _QUOTES:
        return _QUOTES[character]
    if category == "Pd" or character in _DASHES:
        return "-"
    return chr(ord(character) - 0xFEE0) if ord(character) in _FULL_WIDTH else character


_PLAIN: Final = _Plain()
