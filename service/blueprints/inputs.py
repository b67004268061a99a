"""Request bodies of known length: reading one fails if the client left before its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from service.errors import UnreadableBodyError
from service.schemas import wordings


class _Stream(Protocol):
    """The part of WSGI's input interface that is used here."""

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or all."""

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or so many bytes of it."""


class _CompleteInput:
    """An input that raises UnreadableBodyError at an early end.

    The server ends the input there. The part that arrived may look complete: a form without its
    last letters, or JSON without its trailing spaces.
    """

    def __init__(self, stream: _Stream, length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or all."""
        return self._checked(self._stream.read(size), size)

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or so many bytes of it."""
        line = self._stream.readline(size)
        return self._checked(line, 1 if line else size)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines."""
        return iter(self.readline, b"")

    def _checked(self, piece: bytes, size: int | None) -> bytes:
        self._left -= len(piece)
        is_at_end = size is None or size < 0 or (size > 0 and not piece)
        if is_at_end and self._left > 0:
            raise UnreadableBodyError(wordings.CUT_OFF, errors={"body": [wordings.CUT_OFF]})
        return piece


def complete(environ: dict[str, Any]) -> None:
    """Wrap the input of a request, if its server ends it, so that an early end raises an error."""
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("wsgi.input_terminated") and length.isdecimal():
        environ["wsgi.input"] = _CompleteInput(environ["wsgi.input"], int(length))
