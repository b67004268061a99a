"""One connection to an SMSC, with its requests and responses. It runs in an event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Final

from service.channels.drivers.smpp import errors, pdus
from service.channels.drivers.smpp.pdus import Pdu, UnreadablePduError
from service.channels.errors import RetryableError, UncertainError

_FAREWELL: Final = 2.0
"""Seconds to wait for the answer to a farewell."""

_OF_MESSAGES: Final = frozenset({"deliver_sm", "data_sm"})
"""The requests of an SMSC that are about messages."""


class Connection:
    """A connection, with the requests that wait for their responses.

    `patience` is how many seconds it waits for a response. `on_message` is called with each message
    that the SMSC delivers; whoever gets it answers it.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        patience: float,
        on_message: Callable[[Pdu], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._patience = patience
        self._on_message = on_message
        self._numbers = itertools.cycle(range(1, pdus.LAST_NUMBER + 1))
        self._waiting: dict[int, asyncio.Future[Pdu]] = {}
        self._silent = asyncio.Event()
        self._reading = asyncio.create_task(self._read_all())

    async def ask(self, command: str, **fields: Any) -> Pdu:
        """Send a request and return its response.

        Raises RetryableError if it was not sent, and UncertainError if no response comes.
        """
        if self._reading.done():
            raise RetryableError("The connection to the SMSC is closed.", code="unreachable")
        number = next(self._numbers)
        written = pdus.write(command, number, **fields)
        waiter: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiter
        self._silent.clear()
        self._writer.write(written)
        try:
            async with asyncio.timeout(self._patience):
                return await waiter
        except TimeoutError:
            reason = f"The SMSC did not answer within {self._patience:g} seconds."
            raise UncertainError(reason, code="no_answer") from None
        finally:
            self._forget(number)

    def answer(self, pdu: Pdu, status: int = errors.OK) -> None:
        """Answer a request of the SMSC."""
        self._writer.write(pdus.write(f"{pdu.command}_resp", pdu.number, status))

    async def ended(self) -> None:
        """Wait until the connection ends."""
        await asyncio.wait([self._reading])

    async def leave(self, longest: float) -> None:
        """Wait up to `longest` seconds for responses, unbind, and close the connection."""
        if self._waiting:
            await asyncio.wait([asyncio.create_task(self._silent.wait())], timeout=longest)
        self._patience = _FAREWELL
        try:
            await self.ask("unbind")
        except (UncertainError, RetryableError):
            pass
        finally:
            self.cut()
            await self.ended()

    def cut(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    async def _read_all(self) -> None:
        try:
            while self._take(await self._read()):
                pass
        except (OSError, EOFError, UnreadablePduError):
            pass
        finally:
            self.cut()
            self._give_up()

    async def _read(self) -> Pdu:
        header = await self._reader.readexactly(pdus.HEADER)
        body = await self._reader.readexactly(pdus.length(header) - pdus.HEADER)
        return pdus.read(header + body)

    def _take(self, pdu: Pdu) -> bool:
        """Handle a PDU; return False after an unbind."""
        if pdu.is_response:
            waiter = self._waiting.get(pdu.number)
            if waiter and not waiter.done():
                waiter.set_result(pdu)
        elif pdu.command in _OF_MESSAGES:
            self._on_message(pdu)
        elif pdu.command in {"enquire_link", "unbind"}:
            self.answer(pdu)
        elif pdu.command != "alert_notification":
            self._writer.write(pdus.write("generic_nack", pdu.number, errors.UNKNOWN_COMMAND))
        return pdu.command != "unbind" or pdu.is_response

    def _give_up(self) -> None:
        """End the waits for responses: the SMSC may have these requests."""
        for waiter in self._waiting.values():
            if not waiter.done():
                reason = "The connection to the SMSC broke before its answer."
                waiter.set_exception(UncertainError(reason, code="no_answer"))

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        if not self._waiting:
            self._silent.set()
