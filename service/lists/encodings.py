"""Text files: their encoding, found by the BOM, then by exclusion, then by likelihood."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from charset_normalizer import from_bytes

from service.lists.base import PIECE, ListError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN: Final = ("cp1252", "cp1250", "mac_roman")
"""Encodings of Latin letters, the most common first."""

_EAST_ASIAN: Final = {
    "cp932": re.compile(r"[\u3041-\u30ff]"),  # every Japanese text has Kana
    "cp949": re.compile(r"\A[\x00-\x7f\uac00-\ud7a3]*\Z"),  # a Korean text has only Hangul
    "gb18030": re.compile(""),
    "big5": re.compile(""),
}
"""Encodings that decode each other's bytes, and a pattern for texts in each."""

_OTHERS: Final = ["cp1251", "cp1253", "cp1255", "cp1256", *_EAST_ASIAN]
"""Encodings of other scripts."""

_NOT_OF_FILES: Final = frozenset(
    {"utf-7", "unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"}
)
"""Encodings that Python knows and no file is in. Some make halves of surrogate pairs."""

_FOREIGN: Final = re.compile(rb"[\x80-\xff]+")
_LONG_RUN: Final = 3
_MOSTLY: Final = 0.6
_SAMPLE: Final = 32_768


def find(file: BinaryIO, declared: str = "") -> str:
    """Return a file's encoding, or `declared` if that is a known encoding; raises ListError.

    It reads the file once to its end, then rewinds it.
    """
    head = file.read(PIECE)
    found = _by_mark(head) or _declared(declared) or _by_zeros(head)
    if found is None:
        file.seek(0)
        sample = _not_utf8(file)
        found = _likely(sample) if sample else "utf-8"
    file.seek(0)
    return found


@contextmanager
def opened(file: BinaryIO, encoding: str, newline: str | None) -> Iterator[io.TextIOWrapper]:
    """Read a file as text; the file stays open. Raises ListError for bytes of another encoding."""
    text = io.TextIOWrapper(file, encoding, newline=newline)
    try:
        yield text
    except UnicodeError as error:
        raise ListError(
            f"The file is not {encoding.upper()} throughout: save it as UTF-8."
        ) from error
    finally:
        text.detach()


def _by_mark(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _declared(name: str) -> str | None:
    if not name:
        return None
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError) as error:  # ValueError: it has a zero in it
        raise _unknown(name) from error
    if found.name.replace("_", "-") in _NOT_OF_FILES:
        raise _unknown(name)
    # Python's codecs include compressions, which are not text encodings.
    return found.name if getattr(found, "_is_text_encoding", True) else None


def _unknown(name: str) -> ListError:
    return ListError(f"The part's charset {name[:40]!r} is unknown: send the file as UTF-8.")


def _by_zeros(head: bytes) -> str | None:
    """Detect UTF-16 without a BOM: in most scripts every second byte is zero."""
    if b"\0" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < len(head) / 8 or min(even, odd) > max(even, odd) / 8:
        raise ListError(
            "The file is neither text nor a spreadsheet: send CSV, XLSX, ODS, NDJSON or VCF."
        )
    return "utf-16-be" if even > odd else "utf-16-le"


def _not_utf8(file: BinaryIO) -> bytes:
    """Return the non-ASCII lines of a file that is not UTF-8, or nothing if it is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    sample = bytearray()
    is_utf8 = True
    for line in iter(lambda: file.readline(PIECE), b""):
        if not line.isascii() and len(sample) < _SAMPLE:
            sample += line
        if is_utf8:
            is_utf8 = _decodes(decoder, line)
        elif len(sample) >= _SAMPLE:
            break
    return b"" if is_utf8 and _decodes(decoder, b"", final=True) else bytes(sample)


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _likely(sample: bytes) -> str:
    """Return the most likely encoding; in Latin script, few accented letters are adjacent."""
    runs = _FOREIGN.findall(sample)
    foreign = sum(map(len, runs))
    western = max(_WESTERN, key=lambda name: _letters(sample, name))
    if foreign < _LONG_RUN * len(runs) and _letters(sample, western) >= _MOSTLY * foreign:
        return western
    found = from_bytes(sample, cp_isolation=_OTHERS).best()
    if found is None or found.encoding in _EAST_ASIAN:
        return next((name for name in _EAST_ASIAN if _fits(sample, name)), western)
    return found.encoding


def _fits(sample: bytes, east_asian: str) -> bool:
    try:
        text = sample.decode(east_asian)
    except UnicodeDecodeError:
        return False
    return _EAST_ASIAN[east_asian].search(text) is not None


def _letters(sample: bytes, encoding: str) -> int:
    """Count plausible non-ASCII letters: a capital after a small letter is not."""
    text = sample.decode(encoding, "replace")
    return sum(
        here.isalpha() and not (here.isupper() and before.islower())
        for before, here in zip(" " + text, text, strict=False)
        if here > "\x7f"
    )
