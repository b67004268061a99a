"""Detect the kind of a file from its bytes, because file names are unreliable."""

from __future__ import annotations

import zipfile
from enum import StrEnum
from typing import BinaryIO, Final

import filetype

from service.lists import archives
from service.lists.base import ListError


class Kind(StrEnum):
    """The supported kinds of list."""

    CSV = "csv"
    XLSX = "xlsx"
    ODS = "ods"
    XLS = "xls"
    NDJSON = "ndjson"
    VCF = "vcf"


_HEAD: Final = 8192
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLDER: Final = (b"\x09\x00", b"\x09\x02", b"\x09\x04", b"\x09\x08")
"""The first bytes of workbooks before Excel 5.0, and of those without a container."""

_TAKEN: Final = "send CSV, TSV, XLSX, ODS, XLS, NDJSON or VCF"
_MARKUP: Final = (b"<html", b"<!doctype", b"<?xml", b"<table", b"<meta")


def find(file: BinaryIO) -> Kind:
    """Return the kind of a file, and rewind it; raises ListError."""
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise ListError("The file is empty.")
    if head.startswith(_ZIP):
        kind = _in_archive(file)
        file.seek(0)
        return kind
    if head.startswith((_OLE, *_OLDER)):
        return Kind.XLS
    return _text(head)


def _text(head: bytes) -> Kind:
    text = _ascii(head).lstrip().lower()
    if text.startswith(b"begin:vcard"):
        return Kind.VCF
    if text.startswith(b"{"):
        return Kind.NDJSON
    if text.startswith(b"[{"):
        raise ListError("The file is a JSON array: write each object on its own line (NDJSON).")
    if text.startswith(_MARKUP):
        raise ListError(f"The file is HTML or XML, even if its name says otherwise: {_TAKEN}.")
    # A text's BOM may look like the start of an image.
    if (known := filetype.guess(head)) and not known.mime.startswith("text/"):
        raise ListError(f"The file is {known.mime}, not a list: {_TAKEN}.")
    return Kind.CSV


def _ascii(head: bytes) -> bytes:
    """Return the start of a text, without a BOM and zero bytes."""
    return head[:400].replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe")


def _in_archive(file: BinaryIO) -> Kind:
    try:
        with archives.opened(file) as archive:
            names = set(archive.namelist())
            kept = archive.read("mimetype")[:100] if _is_small(archive) else b""
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ListError("The file is an incomplete or damaged archive: send it again.") from error
    if b"opendocument.spreadsheet" in kept:
        return Kind.ODS
    if "xl/workbook.xml" in names or ("[Content_Types].xml" in names and _has_sheets(names)):
        return Kind.XLSX
    if "xl/workbook.bin" in names:
        raise ListError("The file is an XLSB workbook: save it as XLSX or CSV.")
    raise ListError(f"The file is an archive, not a spreadsheet: {_TAKEN}.")


def _is_small(archive: zipfile.ZipFile) -> bool:
    info = archive.NameToInfo.get("mimetype")
    return info is not None and info.file_size < _HEAD and info.compress_type == zipfile.ZIP_STORED


def _has_sheets(names: set[str]) -> bool:
    return any("worksheets/" in name for name in names)
