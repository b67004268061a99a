"""Content encodings: compressed bodies (RFC 9110, section 8.4)."""

from __future__ import annotations

import zlib

from service.errors import MediaTypeError, TooLargeError, UnreadableBodyError

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_NONE = frozenset({"", "identity", "utf-8", "utf8"})
"""Names that mean no compression. Some programs send the charset in this header."""

_GZIP_NAMES = frozenset({"gzip", "x-gzip"})


def unpack(raw: bytes, encoding: str, limit: int) -> bytes:
    """Decompress a body, to at most `limit` bytes.

    `encoding` comes from the header. A body that begins like gzip is decompressed anyway: no text
    begins like that. Raises TooLargeError, UnreadableBodyError, and MediaTypeError for an unknown
    encoding.
    """
    encoding = encoding.strip().lower()
    if raw.startswith(_GZIP_MAGIC) or (raw and encoding in _GZIP_NAMES):
        return _inflated(raw, (_GZIP,), "gzip", limit)
    if encoding == "deflate" and raw:
        # `deflate` means zlib's format. Some programs send raw deflate without its header.
        return _inflated(raw, (_ZLIB, _RAW_DEFLATE), "deflate", limit)
    if encoding in _NONE or not raw:
        return raw
    sentence = f"Unsupported Content-Encoding {encoding[:50]}: use gzip, deflate or none."
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
            sentence = f"The decompressed body is larger than {limit} bytes."
            raise TooLargeError(sentence, errors={"body": [sentence]})
        if unpacking.eof and not unpacking.unused_data:
            return unpacked
    sentence = f"The body is not valid {name}, or it is cut off."
    raise UnreadableBodyError(sentence, errors={"body": [sentence]})
