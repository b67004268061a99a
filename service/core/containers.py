"""Containers: ISO base media files and Ogg, told by what they carry."""

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
        "This is a HEIC picture, which no channel shows: save it as JPEG (an iPhone takes JPEG with"
        " Settings, Camera, Formats, Most Compatible).",
    ),
    **dict.fromkeys((b"avif", b"avis"), "This is an AVIF picture: save it as JPEG or PNG."),
    b"crx ": "This is a raw picture of a camera (CR3): export it as JPEG.",
    b"qt  ": "This is a QuickTime film (MOV): export it as MP4, with H.264 and AAC.",
}
"""What to do with a file of a brand that no channel shows (brands: https://mp4ra.org)."""

_AUDIO: Final = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
_MP4: Final = (b"iso", b"mp4", b"avc1", b"mmp4", b"MSNV", b"M4V", b"f4v ", b"F4V ", b"dash", b"cmf")
"""How the brands of MP4 begin."""

_OLD_QUICKTIME: Final = frozenset({b"moov", b"wide", b"pnot"})
"""The first boxes of films from before there were brands."""

_BOX: Final = struct.Struct(">I4s")
_MOST_BOXES: Final = 100
_LARGEST_INDEX: Final = 8 * 1024 * 1024
_HANDLER: Final = re.compile(rb"hdlr.{8}(vide|soun)", re.DOTALL)

_OPUS: Final = b"OpusHead"
_OGG_AUDIO: Final = (_OPUS, b"\x01vorbis", b"\x7fFLAC", b"fLaC", b"Speex   ")
_OGG_VIDEO: Final = (b"\x80theora", b"BBCD\0", b"OVP80")
_PAGE: Final = 27
"""The bytes of a page's header in front of its table of segments (RFC 3533, section 6)."""

_BEGINS_STREAM: Final = 2


def iso_media(file: BinaryIO, head: bytes) -> str | None:
    """Return the type of an ISO base media file, None for any other file.

    Raises MediaTypeError, with what to do, for pictures and films that channels do not show.
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
    if brands[0].startswith(b"3g"):
        return "3g2" if brands[0].startswith(b"3g2") else "3gp"
    if not any(brand.startswith(_MP4) for brand in brands):
        return None
    return "m4a" if _tracks(file) == {b"soun"} else "mp4"


def ogg(head: bytes) -> str | None:
    """Return the type of an Ogg file by the codecs of its streams (RFC 5334), None if it is none.

    `ogg` is Opus alone, the one that is sent as a voice message; `oga` is other sound.
    """
    streams = list(_streams(head))
    if any(stream.startswith(_OGG_VIDEO) for stream in streams):
        return "ogv"
    sounds = [stream for stream in streams if stream.startswith(_OGG_AUDIO)]
    if not sounds:
        return None
    return "ogg" if all(sound.startswith(_OPUS) for sound in sounds) else "oga"


def _brands(head: bytes) -> Iterator[bytes]:
    """Yield the major brand of a file, and those that it is compatible with."""
    yield head[8:12]
    size, _ = _BOX.unpack_from(head)
    for at in range(16, min(size, len(head)) - 3, 4):
        yield head[at : at + 4]


def _is_generic(brand: bytes) -> bool:
    return brand in _GENERIC


def _tracks(file: BinaryIO) -> set[bytes]:
    """Return the kinds of track that the index of a file names; none if it has no index."""
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
    """Yield how each stream begins: their first pages stand in front of all others."""
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
