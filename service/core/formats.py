"""File formats: detects the supported types by content, not by name.

Only plain text formats also need the name: nothing in a CSV file identifies it.
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
    """A file type. `type` is also the extension of its stored name."""

    type: str
    mimetype: str

    @property
    def is_inert(self) -> bool:
        """Return whether browsers show or play this type without running code in it."""
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
    Format("3ga", "audio/3gpp"),
    Format("ogg", "audio/ogg"),
    Format("oga", "application/ogg"),  # by RFC 5334; channels send it as a document
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
"""Types that the library `filetype` names differently."""

_TEXTS = {".txt": "txt", ".csv": "csv", ".vcf": "vcf"}
_OFFICE_FOLDERS = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}

_PDF_WITHIN = 1024
"""Bytes in which readers search for `%PDF-` (ISO 32000-1, annex H, 3.4.1)."""

_MARKUP = re.compile(
    rb"<(?:!doctype|!--|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|svg)"
    rb"[\t\n\f\r />]|<\?xml",
    re.IGNORECASE,
)
"""Beginnings that browsers sniff as HTML or XML (WHATWG MIME Sniffing, 7.1), or SVG. The tag must
end there: `<Bilal>` does not match."""

_WHITESPACE = b"\t\n\f\r "
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAVE_AS_UTF_8 = "Save it as UTF-8 (in Excel: CSV UTF-8)"

_END_OF_ZIP = struct.Struct("<4s4H2LH")
_LONGEST_COMMENT = 0xFFFF
_MOST_ENTRIES = 10_000
_LARGEST_DIRECTORY = 1024 * 1024
"""More than any document needs. An archive's directory is read into memory, so it has a limit."""


def recognise(file: BinaryIO, filename: str) -> Format:
    """Return the format of a file; raises MediaTypeError if it is not supported.

    `file` is read from its beginning. It is never decompressed or read into memory completely.
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
    """Return the type that the first bytes identify."""
    if contained := containers.iso_media(file, head) or containers.ogg(head):
        return contained
    if found := match(head, _BINARY):
        return _NAMED.get(found.extension) or str(found.extension)
    return "pdf" if b"%PDF-" in head[:_PDF_WITHIN] else None


def _text(file: BinaryIO, head: bytes, named: str) -> str:
    """Return the type of a text file, after checking all of it."""
    _refuse_markup(head)
    if head.startswith(_UTF_16):
        raise _refusal(f"A {named} file must be UTF-8. This one is UTF-16. {_SAVE_AS_UTF_8}.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                raise _refusal(
                    f"A {named} file must be text. This one contains NUL bytes. If it is UTF-16:"
                    f" {_SAVE_AS_UTF_8}."
                )
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        sentence = f"A {named} file must be UTF-8. This one is not. {_SAVE_AS_UTF_8}."
        raise _refusal(sentence) from error
    if named == "vcf" and not _begins(head).lower().startswith(b"begin:vcard"):
        raise _refusal("A vcf file must begin with BEGIN:VCARD.")
    return named


def _refuse_markup(head: bytes) -> None:
    if _MARKUP.match(_begins(head)):
        raise _refusal("HTML, SVG and XML files are not supported, whatever their name.")


_ZIP64 = b"PK\x06\x07"
_ZIP64_LOCATOR = 20
"""Size of the zip64 locator before the end record."""


def _begins(head: bytes) -> bytes:
    """Return the beginning of a file as a browser sniffs it."""
    return head.removeprefix(codecs.BOM_UTF8).lstrip(_WHITESPACE)[:16]


def _office(file: BinaryIO, head: bytes) -> str | None:
    """Return the type of an Office document: a zip archive with certain file names."""
    if not head.startswith(b"PK\x03\x04") or not _has_small_directory(file):
        return None
    try:
        with zipfile.ZipFile(file) as archived:
            names = archived.namelist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError):
        return None
    if any(name.endswith("vbaProject.bin") for name in names):
        raise _refusal("Documents with macros are not supported.")
    if "[Content_Types].xml" not in names:
        return None
    kinds = {kind for folder, kind in _OFFICE_FOLDERS.items() if _holds(names, folder)}
    return kinds.pop() if len(kinds) == 1 else None


def _holds(names: list[str], folder: str) -> bool:
    return any(name.startswith(folder) for name in names)


def _has_small_directory(file: BinaryIO) -> bool:
    """Return whether an archive's directory is small enough to read; zip64 never is."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _ZIP64_LOCATOR - _END_OF_ZIP.size - _LONGEST_COMMENT))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END_OF_ZIP.size:
        return False
    if tail[max(0, at - _ZIP64_LOCATOR) : at].startswith(_ZIP64):
        return False  # its real sizes are in another record
    fields = _END_OF_ZIP.unpack_from(tail, at)
    entries, directory = fields[4], fields[5]
    return bool(entries <= _MOST_ENTRIES and directory <= _LARGEST_DIRECTORY)


def _unknown(head: bytes) -> MediaTypeError:
    if _may_be_text(head):
        return _refusal(f"This looks like text. Its name must end in {', '.join(_TEXTS)}.")
    return _refusal(f"Unsupported file type. Supported types: {', '.join(FORMATS)}.")


def _may_be_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and "\0" not in text


def _refusal(sentence: str) -> MediaTypeError:
    return MediaTypeError(sentence, errors={"file": [sentence]})
