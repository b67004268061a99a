"""The link of a session: an open bind at its SMSC, and the PDUs that the SMSC delivers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import structlog

from service import ids
from service.channels.base import DriverContext
from service.channels.drivers.smpp import errors, reports
from service.channels.drivers.smpp.binding import Bind, bound
from service.channels.drivers.smpp.connection import Connection
from service.channels.drivers.smpp.pdus import Pdu
from service.channels.errors import BlockedError, SendError
from service.channels.steps import NotAllowedError
from service.channels.webhooks import Notice, Report
from service.channels.workers import Workers

log = structlog.get_logger(__name__)

ENQUIRE: Final = 30.0
"""Seconds between two questions whether the SMSC is still there."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
"""Seconds before the next attempt to bind; they double with each attempt that fails."""

_STEADY: Final = 1.0
"""Seconds after which a bind that ends counts as a good one: the next begins at once."""

_MOST_UNSTORED: Final = 1_000
"""Messages of an SMSC that may wait to be stored. It is told to send more of them later."""

_BATCH: Final = 200
"""Messages that are stored in one transaction."""

_STORING: Final = Workers("reports", 2)
"""Threads that store what SMSCs deliver."""

Hear = Callable[[Report], None]
"""Stores a report; blocks, and raises an error if it is not stored."""


class SmppLink:
    """A bind that is kept. `hear` gets what the SMSC says; its methods run in the links' thread."""

    def __init__(
        self,
        bind: Bind,
        settings: Mapping[str, Any],
        context: DriverContext,
        hear: Hear,
    ) -> None:
        self._bind = bind
        self._settings = settings
        self._context = context
        self._hear = hear
        self._connection: Connection | None = None
        self._arrived: asyncio.Queue[Pdu] = asyncio.Queue(_MOST_UNSTORED)
        self._keeper: asyncio.Task[None] | None = None
        self._is_good: bool | None = None
        self._pause = _FIRST_PAUSE
        self._serial = ""

    @property
    def is_up(self) -> bool:
        """Return whether the bind can carry messages now."""
        return self._connection is not None

    async def submit(self, fields: Mapping[str, Any]) -> Pdu:
        """Send a message and return the SMSC's response.

        Raises NotAllowedError while there is no bind, and UncertainError if no response comes.
        """
        if self._connection is None:
            raise NotAllowedError
        return await self._connection.ask("submit_sm", **fields)

    async def run(self) -> None:
        """Keep the bind until it is closed."""
        self._keeper = asyncio.current_task()
        while True:
            began = time.monotonic()
            try:
                await self._be_bound()
            except SendError as error:
                await self._complain(error)
            except Exception:
                log.exception("a link failed", host=self._bind.host)
            if self._is_good:
                self._pause = _FIRST_PAUSE
            if not self._is_good or time.monotonic() < began + _STEADY:
                await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Send nothing more, wait for responses, and unbind."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.leave(self._context.connect_timeout)
        if self._keeper:
            self._keeper.cancel()

    async def _be_bound(self) -> None:
        """Bind, and stay bound until the connection ends; raises SendError if it cannot bind."""
        self._serial, self._arrived = ids.new(), asyncio.Queue(_MOST_UNSTORED)
        connection = await bound(self._bind, self._context, self._take)
        around = [
            asyncio.create_task(self._enquire(connection)),
            asyncio.create_task(self._store_all(connection)),
        ]
        try:
            await self._rejoice(connection)
            await connection.ended()
        finally:
            self._connection = None
            for task in around:
                task.cancel()
            connection.cut()

    async def _rejoice(self, connection: Connection) -> None:
        """Open the way for messages, and say so if it was said that there was none."""
        self._connection = connection
        if not self._is_good:
            await self._tell(Notice(None))
        self._is_good = True
        self._context.links.on_up()

    async def _complain(self, error: SendError) -> None:
        """Say why the session cannot send: until somebody mends it, or until the next attempt."""
        self._is_good = False
        wait = error.wait if isinstance(error, BlockedError) else self._pause
        await self._tell(Notice(BlockedError(error.reason, code=error.code, wait=wait)))

    async def _tell(self, notice: Notice) -> None:
        try:
            await self._stored(Report([notice]))
        except Exception:
            log.exception("a notice was not stored", host=self._bind.host)

    async def _enquire(self, connection: Connection) -> None:
        """Cut a connection whose other side is gone."""
        try:
            while True:
                await asyncio.sleep(ENQUIRE)
                await connection.ask("enquire_link")
        except SendError:
            connection.cut()

    def _take(self, pdu: Pdu) -> None:
        """Put a message of the SMSC before those who store it, or send it back."""
        try:
            self._arrived.put_nowait(pdu)
        except asyncio.QueueFull:
            if self._connection:
                self._connection.answer(pdu, errors.QUEUE_FULL)

    async def _store_all(self, connection: Connection) -> None:
        """Store what the SMSC delivers, many PDUs at once. Confirm a PDU only once it is stored."""
        while True:
            some = [await self._arrived.get()]
            while len(some) < _BATCH and not self._arrived.empty():
                some.append(self._arrived.get_nowait())
            status = await self._store(some)
            for pdu in some:
                connection.answer(pdu, status)

    async def _store(self, some: list[Pdu]) -> int:
        report = Report()
        for pdu in some:
            report.add(reports.parse(pdu, self._settings, self._serial))
        try:
            await self._stored(report)
        except Exception as error:  # noqa: BLE001 - the SMSC repeats them later
            log.warning("what an SMSC delivered was not stored", cause=type(error).__name__)
            return errors.TEMPORARY
        return errors.OK

    async def _stored(self, report: Report) -> None:
        await asyncio.wrap_future(_STORING.submit(partial(self._hear, report), self._bind.host))


async def tried(bind: Bind, context: DriverContext) -> None:
    """Bind once and unbind; raises BlockedError and RetryableError."""
    connection = await bound(bind, context, lambda _pdu: None)
    await connection.leave(0.0)
