"""Container formats: detects ISO base media files and Ogg by their content."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.errors import MediaTypeError

_GENERIC: Final = (b"mif1", b"msf1")
"""The brands of both HEIC and AVIF."""

_HEIC: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", *_GENERIC)
_ADVICE: Final = {
    **dict.fromkeys(
        _HEIC,
        "HEIC images are not supported. Save it as JPEG (an iPhone takes JPEG with"
        " Settings, Camera, Formats, Most Compatible).",
    ),
    **dict.fromkeys((b"avif", b"avis"), "AVIF images are not supported. Save it as JPEG or PNG."),
    b"crx ": "Raw camera images (CR3) are not supported. Export it as JPEG.",
    b"qt  ": "QuickTime video (MOV) is not supported. Export it as MP4, with H.264 and AAC.",
}
"""Error messages for unsupported brands (list of brands: https://mp4ra.org)."""

_AUDIO: Final = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
_MP4: Final = (b"iso", b"mp4", b"avc1", b"mmp4", b"MSNV", b"M4V", b"f4v ", b"F4V ", b"dash", b"cmf")
"""Prefixes of MP4 brands."""

_OLD_QUICKTIME: Final = frozenset({b"moov", b"wide", b"pnot"})
"""First boxes of QuickTime files from before brands existed."""

_BOX: Final = struct.Struct(">I4s")
_MOST_BOXES: Final = 100
_LARGEST_INDEX: Final = 8 * 1024 * 1024
_HANDLER: Final = re.compile(rb"hdlr.{8}(vide|soun)", re.DOTALL)

_OPUS: Final = b"OpusHead"
_OGG_AUDIO: Final = (_OPUS, b"\x01vorbis", b"\x7fFLAC", b"fLaC", b"Speex   ")
_OGG_VIDEO: Final = (b"\x80theora", b"BBCD\0", b"OVP80")
_PAGE: Final = 27
"""Bytes of a page header before its segment table (RFC 3533, section 6)."""

_BEGINS_STREAM: Final = 2


def iso_media(file: BinaryIO, head: bytes) -> str | None:
    """Return the type of an ISO base media file, None for other files.

    Raises MediaTypeError for unsupported images and videos.
    """
    box = head[4:8]
    if box in _OLD_QUICKTIME:
        raise _refusal(_ADVICE[b"qt  "])
    if box != b"ftyp":
        return None
    brands = list(_brands(head))
    if brands[0] in _ADVICE:
        raise _refusal(_ADVICE[min((each for each in brands if each in _ADVICE), key=_is_generic)])
    if brands[0] in _AUDIO:
        return "m4a"
    is_audio = _tracks(file) == {b"soun"}
    if brands[0].startswith(b"3g"):
        video = "3g2" if brands[0].startswith(b"3g2") else "3gp"
        return "3ga" if is_audio else video
    if not any(brand.startswith(_MP4) for brand in brands):
        return None
    return "m4a" if is_audio else "mp4"


def ogg(head: bytes) -> str | None:
    """Return the type of an Ogg file by its codecs (RFC 5334), None for other files.

    `ogg` is Opus, which is sent as a voice message; `oga` is other audio.
    """
    streams = list(_streams(head))
    if any(stream.startswith(_OGG_VIDEO) for stream in streams):
        return "ogv"
    sounds = [stream for stream in streams if stream.startswith(_OGG_AUDIO)]
    if not sounds:
        return None
    return "ogg" if all(sound.startswith(_OPUS) for sound in sounds) else "oga"


def _brands(head: bytes) -> Iterator[bytes]:
    """Yield the major brand of a file and its compatible brands."""
    yield head[8:12]
    size, _ = _BOX.unpack_from(head)
    for at in range(16, min(size, len(head)) - 3, 4):
        yield head[at : at + 4]


def _is_generic(brand: bytes) -> bool:
    return brand in _GENERIC


def _tracks(file: BinaryIO) -> set[bytes]:
    """Return the track types in the index of a file, empty without an index."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(_BOX.size)
        if len(header) < _BOX.size:
            break
        size, name = _BOX.unpack(header)
        if name == b"moov":
            index = file.read(min(size or _LARGEST_INDEX, _LARGEST_INDEX))
            return set(_HANDLER.findall(index))
        if size == 1:
            size = int.from_bytes(file.read(8))
        if size < _BOX.size:
            break
        at += size
    return set()


def _streams(head: bytes) -> Iterator[bytes]:
    """Yield the beginning of each stream: their first pages come before all others."""
    at = 0
    while head[at : at + 4] == b"OggS" and len(head) > at + _PAGE:
        if not head[at + 5] & _BEGINS_STREAM:
            return
        body = at + _PAGE + head[at + _PAGE - 1]
        segments = head[at + _PAGE : body]
        yield head[body : body + 8]
        at = body + sum(segments)


def _refusal(sentence: str) -> MediaTypeError:
    return MediaTypeError(sentence, errors={"file": [sentence]})
