"""What an SMSC delivers: receipts, and messages that people write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from service.channels.drivers.smpp.pdus import Pdu
from service.channels.errors import PermanentError
from service.channels.sms import reports
from service.channels.sms.segments import GSM, LANGUAGES, Coding
from service.channels.webhooks import Inbound, Receipt, ReceiptState, Report

RECEIPT_IDS: Final = {"same": (0, 0), "decimal": (16, 10), "hex": (10, 16)}
"""The bases in which an SMSC writes an id in a response and in a receipt; 0: the id is a word.

Kannel's `msg-id-type` (https://www.kannel.org/download/1.4.5/userguide-1.4.5/userguide.html).
"""

_KIND: Final = 0x3C
_RECEIPTS: Final = frozenset({0x04, 0x20})
"""The message types of a receipt and of an intermediate notification (SMPP 3.4, 5.2.12)."""

_HAS_HEADER: Final = 0x40

SHIFTED: Final = 0x24
"""The element of a header that names a national single shift table."""

_STATES: Final = {
    "ENROUTE": ReceiptState.SENT,
    "ACCEPTD": ReceiptState.SENT,
    "DELIVRD": ReceiptState.DELIVERED,
    **dict.fromkeys(("EXPIRED", "DELETED", "UNDELIV", "REJECTD"), ReceiptState.FAILED),
}
"""SMPP 3.4, appendix B. UNKNOWN says nothing."""

_NUMBERED: Final = {
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    8: "REJECTD",
}
"""SMPP 3.4, 5.2.28."""

_REASONS: Final = {
    "EXPIRED": "The phone was unreachable for too long.",
    "DELETED": "The SMSC deleted the message.",
    "UNDELIV": "The carrier could not deliver the message.",
    "REJECTD": "The carrier refused the message.",
}

_FIELD: Final = re.compile(r"\b(id|stat|err):(\S*)", re.IGNORECASE)


def parse(pdu: Pdu, settings: Mapping[str, Any], serial: str) -> Report:
    """Read what an SMSC delivers; `serial` makes the ids of people's messages unique."""
    report = Report()
    kind = (pdu.integer("esm_class") or 0) & _KIND
    if kind in _RECEIPTS:
        _read_receipt(report, pdu, settings)
    elif kind == 0:
        report.inbound.append(_inbound(pdu, f"{serial}.{pdu.number}"))
    else:
        report.odd += 1
    return report


def canonical(message_id: str, base: int) -> str:
    """Return an id in the form that makes a response and a receipt comparable."""
    try:
        return str(int(message_id, base)) if base else message_id
    except ValueError:
        return message_id


def _read_receipt(report: Report, pdu: Pdu, settings: Mapping[str, Any]) -> None:
    found = _FIELD.findall(_octets(pdu)[1].decode("latin-1"))
    fields = {name.lower(): value for name, value in reversed(found)}
    word = _NUMBERED.get(pdu.integer("message_state") or 0) or fields.get("stat", "").upper()
    known_as = _longer(pdu.text("receipted_message_id"), fields.get("id", ""))
    if not known_as or not word:
        report.odd += 1
    elif state := _STATES.get(word):
        base = RECEIPT_IDS[settings.get("receipt_ids") or "same"][1]
        error = _failure(word, fields.get("err", "")) if state is ReceiptState.FAILED else None
        to = reports.digits(pdu.text("source_addr"))
        report.words.append(
            Receipt(canonical(known_as, base), state, recipients=(to,), error=error)
        )


def _longer(field: str, said: str) -> str:
    """Return the id in the field made for it; some SMSCs leave out the NUL that ends the field."""
    return said if not field or said.startswith(field) else field


def _failure(word: str, code: str) -> PermanentError:
    known = f" Error {code}." if code.strip("0") else ""
    return PermanentError(f"{_REASONS[word]}{known}", code=word)


def _inbound(pdu: Pdu, message_id: str) -> Inbound:
    """Return a person's message. Each segment of a long text is a separate message."""
    sender = reports.digits(pdu.text("source_addr"))
    header, written = _octets(pdu)
    text = _text(written, pdu.integer("data_coding") or 0, _shifts(header))
    if text is None:
        return Inbound(message_id, sender, "binary")
    return reports.inbound(message_id, sender, text)


def _octets(pdu: Pdu) -> tuple[bytes, bytes]:
    """Return the elements of a segment's header, and the text after it."""
    written = pdu.octets("message_payload") or pdu.octets("short_message")
    has_header = (pdu.integer("esm_class") or 0) & _HAS_HEADER
    size = 1 + written[0] if has_header and written else 0
    return written[1:size], written[size:]


def _shifts(elements: bytes) -> Coding:
    """Return the coding that a header names (TS 23.040, 9.2.3.24.15)."""
    at = 0
    while at + 2 < len(elements):
        if elements[at] == SHIFTED:
            known = (each for each in LANGUAGES.values() if each.language == elements[at + 2])
            return next(known, GSM)
        at += 2 + elements[at + 1]
    return GSM


def _text(written: bytes, coding: int, shifts: Coding) -> str | None:
    """Decode a text by its data coding (SMPP 3.4, 5.2.19); None: it is not a text."""
    match coding:
        case 0:
            return shifts.decode(written)
        case 1 | 3:
            return written.decode("latin-1")
        case 8:
            return written.decode("utf-16-be", errors="replace")
        case _:
            return None
