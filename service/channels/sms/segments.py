"""Alphabets and segments: how a text is split into segments, which are priced one by one.

A segment has 140 bytes: 160 characters of 7 bits in the GSM alphabet, or 70 in UCS-2. A longer
text is split into segments with a header of 6 bytes each, by which the phone joins them
(3GPP TS 23.038, https://www.3gpp.org/dynareport/23038.htm, and TS 23.040, 9.2.3.24.1).
"""

from __future__ import annotations

from collections.abc import Iterable
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
_EXTENDED: Final = {code: character for character, code in EXTENSION.items()}
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


_ALONE: Final = {Alphabet.GSM: 160, Alphabet.UCS2: 70}
_JOINED: Final = {Alphabet.GSM: 153, Alphabet.UCS2: 67}

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


def count(text: str) -> Counted:
    """Count the segments of a text; an empty text has one."""
    alphabet = alphabet_of(text)
    sizes = [*_sizes(text, alphabet)]
    units = sum(sizes)
    if units <= _ALONE[alphabet]:
        return Counted(alphabet, units, 1)
    return Counted(alphabet, units, len(_cut(sizes, _JOINED[alphabet])))


def split(text: str) -> list[str]:
    """Split a text into its segments, never within a character."""
    alphabet = alphabet_of(text)
    sizes = [*_sizes(text, alphabet)]
    if sum(sizes) <= _ALONE[alphabet]:
        return [text]
    starts = _cut(sizes, _JOINED[alphabet])
    return [text[at:end] for at, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def alphabet_of(text: str) -> Alphabet:
    """Return the alphabet that can write a text in the fewest bytes."""
    is_gsm = all(each in _ONE or each in EXTENSION for each in set(text))
    return Alphabet.GSM if is_gsm else Alphabet.UCS2


def tidied(text: str) -> str:
    """Replace typographic characters: a single one can double the price of a text.

    A text that needs UCS-2 for another reason stays unchanged.
    """
    plain = text.translate(_PLAIN)
    return plain if alphabet_of(plain) is Alphabet.GSM else text


def encode_gsm(text: str) -> bytes:
    """Encode a text in the GSM alphabet with one byte per character, as SMPP expects."""
    written = bytearray()
    for each in text:
        if each in EXTENSION:
            written += bytes((_ESCAPE, EXTENSION[each]))
        else:
            written.append(BASIC.index(each))
    return bytes(written)


def decode_gsm(written: bytes) -> str:
    """Decode a text in the GSM alphabet with one byte per character."""
    said, codes = [], iter(written)
    for code in codes:
        if code == _ESCAPE:
            said.append(_EXTENDED.get(next(codes, 0), " "))
        else:
            said.append(BASIC[code & 0x7F])
    return "".join(said)


def _sizes(text: str, alphabet: Alphabet) -> Iterable[int]:
    if alphabet is Alphabet.GSM:
        return (2 if each in EXTENSION else 1 for each in text)
    return (2 if each > "\uffff" else 1 for each in text)


def _cut(sizes: list[int], room: int) -> list[int]:
    """Return where each segment starts."""
    starts, used = [0], 0
    for position, size in enumerate(sizes):
        if used + size > room:
            starts.append(position)
            used = 0
        used += size
    return starts
