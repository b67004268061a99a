"""SMPP 3.4: the protocol of carriers. One process keeps a bind for the session (`link.py`).

https://smpp.org/SMPP_v3_4_Issue1_2.pdf
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import urlsplit

from marshmallow import Schema

from service.channels.base import Account, DriverContext
from service.channels.content import Part
from service.channels.drivers.smpp import errors, reports
from service.channels.drivers.smpp.binding import Bind
from service.channels.drivers.smpp.link import Hear, SmppLink, tried
from service.channels.drivers.smpp.pdus import Pdu
from service.channels.drivers.smpp.settings import Settings
from service.channels.errors import RetryableError, UncertainError
from service.channels.sms import messages, segments
from service.channels.sms.driver import SmsDriver
from service.channels.sms.segments import Alphabet
from service.channels.steps import Conversation, NotAllowedError, Wait
from service.channels.webhooks import Webhook

WINDOW: Final = 10
"""Messages that wait for a response at the same time, unless the session says otherwise."""

_PORTS: Final = {"smpp": 2775, "smpps": 3550}

_CODINGS: Final = {Alphabet.GSM: 0, Alphabet.UCS2: 8}
"""The SMSC's default alphabet, and UCS-2 (SMPP 3.4, 5.2.19)."""

_HAS_HEADER: Final = 0x40
_LONGEST_SHORT_CODE: Final = 6

Numbering = tuple[int, int]
"""A type of number and a numbering plan (SMPP 3.4, 5.2.5 and 5.2.6)."""

_INTERNATIONAL: Final[Numbering] = (1, 1)
_SHORT_CODE: Final[Numbering] = (3, 0)
_NAME: Final[Numbering] = (5, 0)
_UNKNOWN: Final[Numbering] = (0, 0)


class Prepared(NamedTuple):
    """A text in its alphabet, as segments."""

    coding: int
    language: int
    segments: tuple[bytes, ...]


class Smpp(SmsDriver):
    """A driver for one account at an SMSC."""

    name: ClassVar[str] = "smpp"
    concurrency: ClassVar[int | None] = WINDOW
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Open the account without any I/O."""
        super().__init__(account)
        self._session_id = account.session_id
        self._context = context
        self._receipts = bool(account.settings.get("receipts", True))
        self._common = _common(account.settings, self._sender)
        self._base = reports.RECEIPT_IDS[account.settings.get("receipt_ids") or "same"][0]

    def link(self, hear: Hear) -> SmppLink:
        """Return a link for this account; `hear` stores what the SMSC says."""
        return SmppLink(self._bind(), self._settings, self._context, hear)

    def prepare(self, part: Part) -> Prepared:
        """Encode the text, and cut it into segments."""
        text = messages.body(part)
        coding = segments.coding_of(text, self._language)
        pieces = tuple(map(coding.encode, segments.split(text, self._language)))
        return Prepared(_CODINGS[coding.alphabet], coding.language, pieces)

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:
        """Send the segments in order; return the SMSC's id of the last. Raises SendError.

        A phone shows a text when it has all segments, so only the last one leaves a doubt. Segments
        that are sent again have the same mark, by which the phone knows them.
        """
        self._check_sender(recipient)
        mark, count = zlib.crc32(reference.encode()) & 0xFF, len(prepared.segments)
        message_id = ""
        for number, segment in enumerate(prepared.segments, 1):
            header = _header(mark, count, number, prepared.language)
            message_id = yield from self._submit(
                {
                    **self._common,
                    "destination_addr": recipient,
                    "esm_class": _HAS_HEADER if header else 0,
                    "registered_delivery": int(number == count and self._receipts),
                    "data_coding": prepared.coding,
                    "short_message": header + segment,
                },
                is_last=number == count,
            )
        return message_id

    def check(self) -> Conversation[None]:
        """Bind once, unless this process is bound; raises SendError if the SMSC refuses it.

        An account that is bound elsewhere is a good one.
        """
        if not self._context.links.is_up(self._session_id):
            try:
                yield Wait(lambda: self._context.links.run(tried(self._bind(), self._context)))
            except RetryableError as error:
                if error.code != errors.BOUND_ELSEWHERE:
                    raise

    def _bind(self) -> Bind:
        url, given = urlsplit(str(self._settings["base_url"])), self._settings.get
        port = url.port or _PORTS[url.scheme]
        words = (str(given(name) or "") for name in ("system_id", "password", "system_type"))
        return Bind(url.hostname or "", port, url.scheme == "smpps", *words)

    def _submit(self, submitted: Mapping[str, Any], *, is_last: bool) -> Conversation[str]:
        try:
            response: Pdu = yield Wait(partial(self._begin, submitted), once=True)
        except UncertainError as error:
            if is_last:
                raise
            raise RetryableError(error.reason, code=error.code) from error
        if response.status != errors.OK:
            raise errors.refused(response.status)
        return reports.canonical(response.text("message_id"), self._base)

    def _begin(self, submitted: Mapping[str, Any]) -> Future[Pdu]:
        link = self._context.links.get(self._session_id)
        if not isinstance(link, SmppLink):
            raise NotAllowedError
        return self._context.links.run(link.submit(submitted))


def _common(settings: Mapping[str, Any], sender: str) -> dict[str, Any]:
    """Return the fields that all messages of an account share."""
    source = _numbering(sender)
    given = {
        "source_addr_ton": (settings.get("source_ton"), source[0]),
        "source_addr_npi": (settings.get("source_npi"), source[1]),
        "dest_addr_ton": (settings.get("destination_ton"), _INTERNATIONAL[0]),
        "dest_addr_npi": (settings.get("destination_npi"), _INTERNATIONAL[1]),
    }
    chosen = {name: usual if said is None else said for name, (said, usual) in given.items()}
    service_type = settings.get("service_type") or ""
    return {"service_type": service_type, "source_addr": sender.removeprefix("+"), **chosen}


def _numbering(sender: str) -> Numbering:
    """Return how a sender is written: a name, a short code or an international number."""
    if not sender:
        return _UNKNOWN
    if any(map(str.isalpha, sender)):
        return _NAME
    is_short = len(sender) <= _LONGEST_SHORT_CODE and not sender.startswith("+")
    return _SHORT_CODE if is_short else _INTERNATIONAL


def _header(mark: int, count: int, number: int, language: int) -> bytes:
    """Return what stands before a segment: its place in the text, and the language's table."""
    elements = bytes((0, 3, mark, count, number)) if count > 1 else b""
    if language:
        elements += bytes((reports.SHIFTED, 1, language))
    return bytes((len(elements),)) + elements if elements else b""
