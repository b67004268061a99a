"""Data URLs: files inside a string (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from service.errors import InvalidError

_HEAD: Final = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_NAME: Final = re.compile(r";(?:file)?name=([^;]*)", re.IGNORECASE)
_ENDINGS: Final = {
    "text/plain": ".txt",
    "text/csv": ".csv",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
}
"""File extensions of text formats. Only the name tells them apart."""

_WANTED: Final = 'Must be a data URL, such as "data:image/png;base64,iVBORw0…".'
_BROKEN: Final = "This data URL is not valid: the part after the comma is not base64."


class File(NamedTuple):
    """The content of a data URL, and its file name if it has one."""

    content: bytes
    name: str


def read(url: object) -> File:
    """Return the file in a data URL; raises InvalidError for the field `file`."""
    head = _HEAD.match(url) if isinstance(url, str) else None
    if head is None or not isinstance(url, str):
        raise InvalidError(errors={"file": [_WANTED]})
    given = _NAME.search(head[2])
    name = unquote(given[1]) if given else ""
    if not name and (ending := _ENDINGS.get(head[1].lower())):
        name = f"text{ending}"
    data = url[head.end() :]
    if not head[2].lower().endswith(";base64"):
        return File(unquote_to_bytes(data), name)
    return File(_decoded(data), name)


def _decoded(data: str) -> bytes:
    """Decode base64 of either alphabet, with or without padding."""
    text = "".join(unquote(data).split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidError(errors={"file": [_BROKEN]}) from error
