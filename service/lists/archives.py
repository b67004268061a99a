"""Archives: the parts of a workbook, unpacked in pieces and up to a limit."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, cast
from xml.parsers import expat

from service.lists.base import MOST_UNPACKED, PIECE, ListError, check_depth

_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
)
"""The errors of `zipfile` for archives that are broken, encrypted or compressed unusually."""

_REPAIR: Final = "Open it in a spreadsheet program and save it again."

MOST_ASIDE: Final = 32 * 1024 * 1024
"""Maximum bytes of a part without rows and texts."""

MOST_DIRECTORY: Final = 1024 * 1024
"""Maximum bytes of the directory: each part has an entry of 46 bytes and its name, and takes ten
times as much memory."""

_LONGEST_TAG: Final = 1024 * 1024
"""Maximum bytes of a tag, which the parser buffers until it ends."""

Handlers = tuple[
    Callable[[str, dict[str, str]], None], Callable[[str], None], Callable[[str], None]
]
"""The handlers of start tags, end tags and texts."""


class _Bounded:
    """A file that refuses long reads: `zipfile` reads a directory in one, before it counts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MOST_DIRECTORY:
            raise ListError(
                f"The file is an archive whose directory has more than {MOST_DIRECTORY:,} bytes. No"
                f" spreadsheet program writes so many parts. {_REPAIR}"
            )
        return self._file.read(size)


def opened(file: BinaryIO) -> zipfile.ZipFile:
    """Open an archive; raises ListError for too many parts, and the errors of `zipfile`."""
    return zipfile.ZipFile(cast("BinaryIO", _Bounded(file)))


class Archive:
    """The parts of a workbook by name."""

    def __init__(self, file: BinaryIO) -> None:
        self._left = MOST_UNPACKED
        try:
            self._zip = opened(file)
        except _BROKEN as error:
            raise ListError(f"The workbook is incomplete or damaged. {_REPAIR}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def pieces(self, name: str, most: int = MOST_UNPACKED) -> Iterator[bytes]:
        """Yield a part in pieces, up to `most` bytes; raises ListError."""
        left = most
        try:
            with self._zip.open(name) as part:
                while piece := part.read(PIECE):
                    self._count(len(piece))
                    if (left := left - len(piece)) < 0:
                        raise ListError(
                            f"The workbook's part {name[:80]!r} has more than {most:,} bytes."
                            f" {_REPAIR}"
                        )
                    yield piece
        except KeyError as error:
            raise ListError(f"The workbook has no part {name[:80]!r}. {_REPAIR}") from error
        except _BROKEN as error:
            raise ListError(f"The workbook's part {name[:80]!r} is damaged. {_REPAIR}") from error

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ListError(
                f"The workbook unpacks to more than {MOST_UNPACKED:,} bytes: send it in parts, or"
                " as CSV."
            )

    def parse(self, name: str, handlers: Handlers, most: int = MOST_UNPACKED) -> Iterator[None]:
        """Call the handlers for an XML part, and yield after each piece; raises ListError.

        The names of elements and attributes come without namespaces.
        """
        parser = _parser(handlers)
        size = 0
        try:
            for piece in self.pieces(name, most):
                parser.Parse(piece, False)  # noqa: FBT003 - expat takes only positional arguments
                size += len(piece)
                _check_tag(name, size - parser.CurrentByteIndex)
                yield
            parser.Parse(b"", True)  # noqa: FBT003 - as above
            yield
        except expat.ExpatError as error:
            raise ListError(f"The workbook's part {name[:80]!r} is not XML. {_REPAIR}") from error

    def parse_whole(self, name: str, handlers: Handlers, most: int = MOST_ASIDE) -> None:
        """Call the handlers for a part that is not read row by row; raises ListError."""
        for _ in self.parse(name, _counted(handlers), most):
            pass


def _check_tag(name: str, unread: int) -> None:
    if unread > _LONGEST_TAG:
        raise ListError(
            f"The workbook's part {name[:80]!r} has a tag of more than {_LONGEST_TAG:,} bytes."
            f" {_REPAIR}"
        )


def _counted(handlers: Handlers) -> Handlers:
    """Return handlers that also refuse elements that stand too deep one in another."""
    start, end, text = handlers
    depth = 0

    def counted_start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        check_depth(depth)
        start(name, attributes)

    def counted_end(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(name)

    return counted_start, counted_end, text


def _parser(handlers: Handlers) -> Any:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    start, end, text = handlers

    def plain_start(name: str, attributes: dict[str, str]) -> None:
        start(name.rpartition(":")[2], attributes)

    def plain_end(name: str) -> None:
        end(name.rpartition(":")[2])

    def first_start(name: str, attributes: dict[str, str]) -> None:
        # If the root has no prefix, no relevant element has one. Skipping this saves a third.
        is_prefixed = ":" in name
        parser.StartElementHandler = plain_start if is_prefixed else start
        parser.EndElementHandler = plain_end if is_prefixed else end
        plain_start(name, attributes)

    parser.StartElementHandler = first_start
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*_: Any) -> None:
    raise ListError(
        f"The workbook declares XML entities, which no spreadsheet program does. {_REPAIR}"
    )
