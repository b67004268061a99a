"""Alphabets and segments: how a text is split into segments, which are priced one by one.

A segment has 140 bytes: 160 characters of 7 bits in the GSM alphabet, or 70 in UCS-2. A longer
text is split into segments with a header of 6 bytes each, by which the phone joins them
(3GPP TS 23.038, https://www.3gpp.org/dynareport/23038.htm, and TS 23.040, 9.2.3.24.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The characters of the GSM alphabet, by code; 0x1b is the escape to the extension table."""

EXTENSION: Final = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
"""The characters of the extension table, with the code after the escape."""

_ESCAPE: Final = 0x1B
_ONE: Final = frozenset(BASIC) - {"\x1b"}


class Alphabet(StrEnum):
    """The character encoding of a text."""

    GSM = "gsm-7"
    UCS2 = "ucs-2"


class Counted(NamedTuple):
    """The alphabet of a text, its length in the alphabet's units, and its number of segments."""

    alphabet: Alphabet
    units: int
    segments: int


class Coding(NamedTuple):
    """How a text is written: its alphabet, and the units in a segment that is alone or joined.

    `shifted` has the characters that need an escape. `language` is the identifier of their national
    table in a segment's header, 0 for the table that every phone has.
    """

    alphabet: Alphabet
    alone: int
    joined: int
    shifted: Mapping[str, int] = EXTENSION
    language: int = 0

    def can_write(self, text: str) -> bool:
        """Return whether the alphabet has all characters of a text."""
        if self.alphabet is Alphabet.UCS2:
            return True
        return all(each in _ONE or each in self.shifted for each in set(text))

    def sizes(self, text: str) -> list[int]:
        """Return how many units each character takes."""
        if self.alphabet is Alphabet.GSM:
            return [1 if each in _ONE else 2 for each in text]
        return [2 if each > "\uffff" else 1 for each in text]

    def encode(self, text: str) -> bytes:
        """Encode a text, in the GSM alphabet with one byte per character, as SMPP expects."""
        if self.alphabet is Alphabet.UCS2:
            return text.encode("utf-16-be")
        written = bytearray()
        for each in text:
            if each in _ONE:
                written.append(BASIC.index(each))
            else:
                written += bytes((_ESCAPE, self.shifted[each]))
        return bytes(written)

    def decode(self, written: bytes) -> str:
        """Decode a text in the GSM alphabet with one byte per character."""
        characters = {code: character for character, code in self.shifted.items()}
        said, codes = [], iter(written)
        for code in codes:
            shifted = code == _ESCAPE
            said.append(characters.get(next(codes, 0), " ") if shifted else BASIC[code & 0x7F])
        return "".join(said)


def _national(identifier: int, **more: str) -> Coding:
    """Return the coding with a national single shift table.

    `more` has the characters that it adds to the extension table, from a code on. Their header
    takes four bytes, and three more in joined segments.
    """
    added = {
        character: int(code[1:], 16) + place
        for code, characters in more.items()
        for place, character in enumerate(characters)
    }
    return Coding(Alphabet.GSM, 155, 149, EXTENSION | added, identifier)


GSM: Final = Coding(Alphabet.GSM, 160, 153)
UCS2: Final = Coding(Alphabet.UCS2, 70, 67)

LANGUAGES: Final[Mapping[str, Coding]] = {
    "tr": _national(1, x47="Ğ", x49="İ", x53="Ş", x63="ç", x67="ğ", x69="ı", x73="ş"),
    "es": _national(
        2, x09="ç", x41="Á", x49="Í", x4f="Ó", x55="Ú", x61="á", x69="í", x6f="ó", x75="ú"
    ),
    "pt": _national(
        3,
        x05="ê",
        x09="ç",
        x0b="Ôô",
        x0e="Áá",
        x12="ΦΓ",
        x15="ΩΠΨΣΘ",
        x1f="Ê",
        x41="À",
        x49="Í",
        x4f="Ó",
        x55="Ú",
        x5b="ÃÕ",
        x61="Â",
        x69="í",
        x6f="ó",
        x75="ú",
        x7b="ãõ",
        x7f="â",
    ),
}
"""Languages with a single shift table (TS 23.038, annex A.2), for carriers that pass it on."""

_PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʹʼ", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f", " "),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
        "…": "...",
        "•": "-",
        "·": ".",
        "\t": " ",
        "™": "(TM)",
        "©": "(C)",
        "®": "(R)",
    }
)
"""Typographic characters and their plain replacements."""


def count(text: str, language: str = "") -> Counted:
    """Count the segments of a text; an empty text has one."""
    coding = coding_of(text, language)
    sizes = coding.sizes(text)
    units = sum(sizes)
    if units <= coding.alone:
        return Counted(coding.alphabet, units, 1)
    return Counted(coding.alphabet, units, len(_cut(sizes, coding.joined)))


def split(text: str, language: str = "") -> list[str]:
    """Split a text into its segments, never within a character."""
    coding = coding_of(text, language)
    sizes = coding.sizes(text)
    if sum(sizes) <= coding.alone:
        return [text]
    starts = _cut(sizes, coding.joined)
    return [text[at:end] for at, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def coding_of(text: str, language: str = "") -> Coding:
    """Return the coding that can write a text in the fewest bytes."""
    national = [LANGUAGES[language]] if language else []
    return next(each for each in [GSM, *national, UCS2] if each.can_write(text))


def tidied(text: str, language: str = "") -> str:
    """Replace typographic characters: a single one can double the price of a text.

    A text that needs UCS-2 for another reason stays unchanged.
    """
    plain = text.translate(_PLAIN)
    return plain if coding_of(plain, language).alphabet is Alphabet.GSM else text


def _cut(sizes: list[int], room: int) -> list[int]:
    """Return where each segment starts."""
    starts, used = [0], 0
    for position, size in enumerate(sizes):
        if used + size > room:
            starts.append(position)
            used = 0
        used += size
    return starts
