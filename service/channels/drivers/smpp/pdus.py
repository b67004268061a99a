"""PDUs, the packets of SMPP 3.4: written and read by smpplib, which does no I/O here.

https://smpp.org/SMPP_v3_4_Issue1_2.pdf
"""

from __future__ import annotations

import logging
import struct
from contextlib import suppress
from typing import Any, Final, NamedTuple

from smpplib import command_codes, smpp
from smpplib.exceptions import UnknownCommandError

HEADER: Final = 16
"""Bytes of a header: the length of the PDU, its command, status and sequence number."""

LONGEST: Final = 70_000
"""The most bytes of a PDU: a text in `message_payload` has up to 65,535."""

LAST_NUMBER: Final = 0x7FFFFFFF
"""The highest sequence number."""

_RESPONSE: Final = 0x80000000
_NUMBERS: Final = struct.Struct(">LLLL")

# It would log each field that a vendor has added.
logging.getLogger("smpplib").setLevel(logging.ERROR)


class UnreadablePduError(Exception):
    """The other side does not speak SMPP."""


class Pdu(NamedTuple):
    """A PDU that was read. An unknown command has an empty name and no fields."""

    command: str
    is_response: bool
    status: int
    number: int
    fields: Any = None

    def text(self, name: str) -> str:
        """Return a field of characters, an empty text if it is absent."""
        value = getattr(self.fields, name, None)
        return value.decode("latin-1") if isinstance(value, bytes) else ""

    def octets(self, name: str) -> bytes:
        """Return a field of bytes, empty if it is absent."""
        value = getattr(self.fields, name, None)
        return value if isinstance(value, bytes) else b""

    def integer(self, name: str) -> int | None:
        """Return a field with a number, None if it is absent."""
        value = getattr(self.fields, name, None)
        return value if isinstance(value, int) else None


def write(command: str, number: int, status: int = 0, **fields: Any) -> bytes:
    """Return the bytes of a PDU."""
    made = smpp.make_pdu(command, sequence=number, status=status, **fields)
    made.sequence = number  # the constructor ignores a number
    written: bytes = made.generate()
    return written


def length(header: bytes) -> int:
    """Return the length of a PDU from its header; raises UnreadablePduError."""
    total: int = _NUMBERS.unpack(header)[0]
    if not HEADER <= total <= LONGEST:
        raise UnreadablePduError
    return total


def read(raw: bytes) -> Pdu:
    """Read a PDU. Fields that a vendor has added after the known ones are passed over."""
    _, command, status, number = _NUMBERS.unpack(raw[:HEADER])
    is_response = bool(command & _RESPONSE)
    try:
        name: str = command_codes.get_command_name(command)
        made = smpp.make_pdu(name, sequence=number, allow_unknown_opt_params=True)
    except UnknownCommandError:
        return Pdu("", is_response, status, number)
    with suppress(Exception):  # smpplib raises errors of many kinds; what it has read is kept
        made.parse(raw)
    return Pdu(name, is_response, status, number, made)
