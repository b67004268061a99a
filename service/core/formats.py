"""Formats: the kinds of file that channels carry, told by what is in a file, not by its name.

Only plain texts need the name as well: nothing in a CSV says that it is one.
"""

from __future__ import annotations

import codecs
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from filetype.match import match
from filetype.types import audio, image

from service.core import containers
from service.errors import MediaTypeError

_CHUNK = 64 * 1024
_HEAD = 8 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file; `type` is also the ending of its stored name."""

    type: str
    mimetype: str

    @property
    def is_inert(self) -> bool:
        """Tell whether a browser only shows or plays it, and never runs it."""
        return self.mimetype.partition("/")[0] in {"image", "audio", "video"}


_OFFICE = "application/vnd.openxmlformats-officedocument"
_ALL = (
    Format("jpeg", "image/jpeg"),
    Format("png", "image/png"),
    Format("webp", "image/webp"),
    Format("gif", "image/gif"),
    Format("mp4", "video/mp4"),
    Format("3gp", "video/3gpp"),
    Format("3g2", "video/3gpp2"),
    Format("ogv", "video/ogg"),
    Format("mp3", "audio/mpeg"),
    Format("m4a", "audio/mp4"),
    Format("ogg", "audio/ogg"),
    Format("oga", "application/ogg"),  # what it is by RFC 5334, and a document to channels
    Format("amr", "audio/amr"),
    Format("aac", "audio/aac"),
    Format("pdf", "application/pdf"),
    Format("docx", f"{_OFFICE}.wordprocessingml.document"),
    Format("xlsx", f"{_OFFICE}.spreadsheetml.sheet"),
    Format("pptx", f"{_OFFICE}.presentationml.presentation"),
    Format("txt", "text/plain"),
    Format("csv", "text/csv"),
    Format("vcf", "text/vcard"),
)
FORMATS = {each.type: each for each in _ALL}

_BINARY = (
    image.Jpeg(),
    image.Png(),
    image.Webp(),
    image.Gif(),
    audio.Mp3(),
    audio.Amr(),
    audio.Aac(),
)
_NAMED = {"jpg": "jpeg"}
"""What `filetype` calls otherwise than we do."""

_TEXTS = {".txt": "txt", ".csv": "csv", ".vcf": "vcf"}
_OFFICE_FOLDERS = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}

_PDF_WITHIN = 1024
"""The first bytes among which readers look for `%PDF-` (ISO 32000-1, annex H, 3.4.1)."""

_MARKUP = re.compile(
    rb"<(?:!doctype|!--|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|svg)"
    rb"[\t\n\f\r />]|<\?xml",
    re.IGNORECASE,
)
"""How a file begins that a browser takes for HTML or XML (WHATWG MIME Sniffing, 7.1), or for SVG. A
tag ends there: `<Bilal>` is none."""

_WHITESPACE = b"\t\n\f\r "
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAVE_AS_UTF_8 = "save it as UTF-8 (in Excel: CSV UTF-8)"

_END_OF_ZIP = struct.Struct("<4s4H2LH")
_LONGEST_COMMENT = 0xFFFF
_MOST_ENTRIES = 10_000
_LARGEST_DIRECTORY = 1024 * 1024
"""More than any document has; an archive's directory is read into memory, so it has to end."""


def recognise(file: BinaryIO, filename: str) -> Format:
    """Return what a file is; raises MediaTypeError, with a sentence, for all that is not carried.

    `file` is read from its beginning, never whole into memory and never unpacked.
    """
    file.seek(0)
    head = file.read(_HEAD)
    ending = PurePath(filename.lower()).suffix
    if ending in _TEXTS:
        return FORMATS[_text(file, head, _TEXTS[ending])]
    _refuse_markup(head)
    found = _media(file, head) or _office(file, head)
    if found is None:
        raise _unknown(head)
    return FORMATS[found]


def _media(file: BinaryIO, head: bytes) -> str | None:
    """Return the type that the first bytes are the mark of."""
    if contained := containers.iso_media(file, head) or containers.ogg(head):
        return contained
    if found := match(head, _BINARY):
        return _NAMED.get(found.extension) or str(found.extension)
    return "pdf" if b"%PDF-" in head[:_PDF_WITHIN] else None


def _text(file: BinaryIO, head: bytes, named: str) -> str:
    """Return the type of a text, after looking at all of it."""
    _refuse_markup(head)
    if head.startswith(_UTF_16):
        raise _refusal(f"A {named} file has to be UTF-8, and this one is UTF-16: {_SAVE_AS_UTF_8}.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                raise _refusal(
                    f"A {named} file is text, and this one has bytes of 0. If it is UTF-16,"
                    f" {_SAVE_AS_UTF_8}."
                )
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        sentence = f"A {named} file has to be UTF-8, and this one is not: {_SAVE_AS_UTF_8}."
        raise _refusal(sentence) from error
    if named == "vcf" and not _begins(head).lower().startswith(b"begin:vcard"):
        raise _refusal("A vcf file begins with BEGIN:VCARD.")
    return named


def _refuse_markup(head: bytes) -> None:
    if _MARKUP.match(_begins(head)):
        raise _refusal("HTML, SVG and XML are not carried, whatever the file is called.")


_ZIP64 = b"PK\x06\x07"
_ZIP64_LOCATOR = 20
"""Bytes before the end record that lead to larger numbers than it can hold."""


def _begins(head: bytes) -> bytes:
    """Return the beginning of a file as a browser looks at it."""
    return head.removeprefix(codecs.BOM_UTF8).lstrip(_WHITESPACE)[:16]


def _office(file: BinaryIO, head: bytes) -> str | None:
    """Return the type of an office document: a zip archive with certain names in its directory."""
    if not head.startswith(b"PK\x03\x04") or not _has_small_directory(file):
        return None
    try:
        with zipfile.ZipFile(file) as archived:
            names = archived.namelist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError):
        return None
    if any(name.endswith("vbaProject.bin") for name in names):
        raise _refusal("Documents with macros are not carried.")
    if "[Content_Types].xml" not in names:
        return None
    kinds = {kind for folder, kind in _OFFICE_FOLDERS.items() if _holds(names, folder)}
    return kinds.pop() if len(kinds) == 1 else None


def _holds(names: list[str], folder: str) -> bool:
    return any(name.startswith(folder) for name in names)


def _has_small_directory(file: BinaryIO) -> bool:
    """Tell whether an archive's directory is of a size that can be read; zip64 never is."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _ZIP64_LOCATOR - _END_OF_ZIP.size - _LONGEST_COMMENT))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END_OF_ZIP.size:
        return False
    if tail[max(0, at - _ZIP64_LOCATOR) : at].startswith(_ZIP64):
        return False  # its true sizes are elsewhere
    fields = _END_OF_ZIP.unpack_from(tail, at)
    entries, directory = fields[4], fields[5]
    return bool(entries <= _MOST_ENTRIES and directory <= _LARGEST_DIRECTORY)


def _unknown(head: bytes) -> MediaTypeError:
    if _may_be_text(head):
        return _refusal(f"This looks like text: end the file's name in {', '.join(_TEXTS)}.")
    return _refusal(f"Channels do not carry files of this kind, only {', '.join(FORMATS)}.")


def _may_be_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and "\0" not in text


def _refusal(sentence: str) -> MediaTypeError:
    return MediaTypeError(sentence, errors={"file": [sentence]})
