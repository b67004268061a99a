"""Alphabets and segments: how a text is cut into short messages, which are paid one by one.

A message has 140 bytes. In the GSM alphabet that is 160 characters of 7 bits, else 70 of UCS-2. A
longer text is cut into segments, each with a header of 6 bytes that lets the telephone join them
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
"""The characters of the GSM alphabet, by their code; 0x1b leads to the extension."""

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
"""The characters that take two places, with the code after the escape."""

_ONE: Final = frozenset(BASIC) - {"\x1b"}


class Alphabet(StrEnum):
    """How the characters of a text are written."""

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
"""Typographic characters, and what a typewriter has for them."""


def count(text: str) -> Counted:
    """Count the segments of a text; a text without characters takes one."""
    alphabet = alphabet_of(text)
    sizes = [*_sizes(text, alphabet)]
    units = sum(sizes)
    if units <= _ALONE[alphabet]:
        return Counted(alphabet, units, 1)
    return Counted(alphabet, units, len(_cut(sizes, _JOINED[alphabet])))


def split(text: str) -> list[str]:
    """Cut a text into its segments; no character is cut in two."""
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
    """Replace typographic characters: a single one makes a text twice as dear.

    A text that needs UCS-2 for another reason stays as it is.
    """
    plain = text.translate(_PLAIN)
    return plain if alphabet_of(plain) is Alphabet.GSM else text


def encode_gsm(text: str) -> bytes:
    """Write a text of the GSM alphabet, one character a byte, as SMPP takes it."""
    written = bytearray()
    for each in text:
        if each in EXTENSION:
            written += bytes((0x1B, EXTENSION[each]))
        else:
            written.append(BASIC.index(each))
    return bytes(written)


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
