"""Content encodings: a body that was packed on its way (RFC 9110, section 8.4)."""

from __future__ import annotations

import zlib

from service.errors import MediaTypeError, TooLargeError, UnreadableBodyError

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_NONE = frozenset({"", "identity", "utf-8", "utf8"})
"""Names of no packing; programs confuse this header with the charset of `Content-Type`."""

_GZIP_NAMES = frozenset({"gzip", "x-gzip"})


def unpack(raw: bytes, encoding: str, limit: int) -> bytes:
    """Return the bytes that a body is packed from, at most `limit` of them.

    `encoding` is that of the header. What begins as gzip does is unpacked whatever the header says:
    no text begins so. Raises TooLargeError, UnreadableBodyError, and MediaTypeError for an encoding
    that is not known.
    """
    encoding = encoding.strip().lower()
    if raw.startswith(_GZIP_MAGIC) or (raw and encoding in _GZIP_NAMES):
        return _inflated(raw, (_GZIP,), "gzip", limit)
    if encoding == "deflate" and raw:
        # The name means zlib's format; some programs send its inner one without a header.
        return _inflated(raw, (_ZLIB, _RAW_DEFLATE), "deflate", limit)
    if encoding in _NONE or not raw:
        return raw
    sentence = f"The body is packed as {encoding[:50]}: pack it as gzip or deflate, or not at all."
    headers = {"Accept-Encoding": "gzip, deflate"}
    raise MediaTypeError(sentence, errors={"body": [sentence]}, headers=headers)


def _inflated(raw: bytes, formats: tuple[int, ...], name: str, limit: int) -> bytes:
    for wbits in formats:
        unpacking = zlib.decompressobj(wbits)
        try:
            unpacked = unpacking.decompress(raw, limit + 1)
        except zlib.error:
            continue
        if len(unpacked) > limit:
            sentence = f"The body is larger than {limit} bytes once it is unpacked."
            raise TooLargeError(sentence, errors={"body": [sentence]})
        if unpacking.eof and not unpacking.unused_data:
            return unpacked
    sentence = f"The body is not readable: it is said to be {name} and is not, or is broken off."
    raise UnreadableBodyError(sentence, errors={"body": [sentence]})
