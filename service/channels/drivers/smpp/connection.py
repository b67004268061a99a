"""One connection to an SMSC, bound as a transceiver. It runs in an event loop."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import certifi

from service.channels.addresses import forbidden, is_public
from service.channels.base import DriverContext
from service.channels.drivers.smpp import errors, pdus
from service.channels.drivers.smpp.pdus import Pdu, UnreadablePduError
from service.channels.errors import BlockedError, RetryableError, UncertainError

_FAREWELL: Final = 2.0
"""Seconds to wait for the answer to a farewell."""

_OF_MESSAGES: Final = frozenset({"deliver_sm", "data_sm"})
"""The requests of an SMSC that are about messages."""


class Bind(NamedTuple):
    """Where an SMSC is, and who binds there."""

    host: str
    port: int
    tls: bool
    system_id: str
    password: str
    system_type: str


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


async def bound(
    bind: Bind, context: DriverContext, on_message: Callable[[Pdu], None]
) -> Connection:
    """Connect and bind. Raises BlockedError and RetryableError."""
    try:
        async with asyncio.timeout(context.connect_timeout):
            reader, writer = await _connected(bind, context)
    except ssl.SSLCertVerificationError as error:
        reason = f"The SMSC cannot be called: {error.verify_message}."
        raise BlockedError(reason, code="certificate") from error
    except TimeoutError as error:
        reason = f"The SMSC did not answer within {context.connect_timeout:g} seconds."
        raise RetryableError(reason, code="unreachable") from error
    except OSError as error:
        reason = f"The SMSC could not be reached: {error.strerror or error}."
        raise RetryableError(reason, code="unreachable") from error
    connection = Connection(reader, writer, context.send_timeout, on_message)
    try:
        await _introduce(connection, bind, context)
    except BaseException:
        connection.cut()
        raise
    return connection


async def _connected(
    bind: Bind, context: DriverContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a socket to the first address that answers; raises BlockedError for a private one."""
    if context.proxy:
        reason = "SMPP is not HTTP, so it cannot go through OUTGOING_PROXY."
        raise BlockedError(reason, code="proxy")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not context.private_addresses:
        for address in addresses:
            if not is_public(address):
                raise forbidden(address)
    tls = ssl.create_default_context(cafile=certifi.where()) if bind.tls else None
    name = bind.host if bind.tls else None
    for address in addresses[:-1]:
        try:
            return await asyncio.open_connection(address, bind.port, ssl=tls, server_hostname=name)
        except ssl.SSLCertVerificationError:
            raise
        except OSError:
            continue
    return await asyncio.open_connection(addresses[-1], bind.port, ssl=tls, server_hostname=name)


async def _introduce(connection: Connection, bind: Bind, context: DriverContext) -> None:
    """Bind as a transceiver; raises BlockedError and RetryableError."""
    try:
        async with asyncio.timeout(context.connect_timeout):
            response = await connection.ask(
                "bind_transceiver",
                system_id=bind.system_id,
                password=bind.password,
                system_type=bind.system_type,
            )
    except (UncertainError, TimeoutError) as error:
        raise RetryableError("The SMSC did not answer the bind.", code="unreachable") from error
    if response.status != errors.OK:
        raise errors.refused(response.status)
