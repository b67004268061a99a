"""The engine `procrastinate`: a worker process that looks at the broadcasts that jobs name.

    POST → job ─(procrastinate)→ AssignedBroadcasts ─→ Dispatcher, which claims of these alone
              ↖ what is to be looked at again, later or by others

It needs the extra `procrastinate` and is imported by those alone who run it. What a job says is in
`service.core.jobs`; that nothing is sent twice or lost is the dispatcher's doing, as everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import procrastinate
import psycopg
import structlog
from procrastinate import exceptions
from procrastinate.app import WorkerOptions
from procrastinate.jobs import Status
from procrastinate.schema import SchemaManager

from service import pg
from service.config import Settings
from service.core import jobs
from service.core.jobs import Job
from service.database import OUT_OF_REACH, Database, now_ms
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.procrastinate.assigned import LONGEST_TURN, AssignedBroadcasts

log = structlog.get_logger(__name__)

_AT_A_TIME = 256
"""Broadcasts that a process looks at; each costs a waiting coroutine and a part of a query."""

_CONNECTIONS = 4
"""Connections for jobs: each is held for one short statement."""

_BEATS_PER_LEASE = 6
_PAUSE = 1.0
"""Seconds until a worker that broke off begins anew."""

_UNWIND = 2
"""Seconds in which the jobs of a worker that breaks off may end by themselves."""

_SWEEP = "crier.sweep"
_URGENT = 100
"""The priority of the sweep: when there is most to do, it must not stand in the queue."""

_MINUTE = 60


class EngineError(Exception):
    """The engine cannot work here."""


def set_up(database: Database) -> bool:
    """Create procrastinate's tables; tell whether that was needed. Raises EngineError."""
    with database.reading() as db:
        problem = jobs.problem(db)
    if problem == jobs.NO_QUEUE:
        with database.engine.begin() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute(SchemaManager.get_schema())
    elif problem:
        raise EngineError(problem)
    return problem is not None


class Engine:
    """A worker of procrastinate and a dispatcher, side by side in one process."""

    def __init__(self, settings: Settings, database: Database, dispatcher: Dispatcher) -> None:
        # It tells of each job that begins and ends.
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        self._settings = settings
        self._database = database
        self._dispatcher = dispatcher
        self._assigned = AssignedBroadcasts(settings, database, dispatcher.wake)
        self._app = procrastinate.App(connector=_connector(settings))
        self._app.task(name=jobs.TASK, queue=jobs.QUEUE)(self._look)
        sweep = self._app.task(
            name=_SWEEP, queue=jobs.QUEUE, queueing_lock=_SWEEP, priority=_URGENT
        )(self._sweep)
        self._app.periodic(cron=every(settings.sweep_interval))(sweep)

    async def run(self) -> bool:
        """Work until SIGTERM or SIGINT; tell whether all sends under way could end in time.

        Raises EngineError where the database has no queue.
        """
        ended = _ending()
        with suppress(*OUT_OF_REACH):
            await asyncio.to_thread(self._check)
        self._dispatcher.limit_to(self._assigned.broadcast_ids)
        await asyncio.to_thread(self._dispatcher.start)
        self._assigned.loop.start()
        working = asyncio.create_task(self._work(ended))
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait([working, ending], return_when=asyncio.FIRST_COMPLETED)
        in_time = await self._stop(working)
        ending.cancel()
        return in_time

    async def _stop(self, working: asyncio.Task[None]) -> bool:
        """Leave what is not begun to others at once, then end as any dispatcher does."""
        self._dispatcher.drain()
        working.cancel()
        await self._try(self._assigned.close)
        [result] = await asyncio.gather(working, return_exceptions=True)
        in_time = await asyncio.to_thread(self._dispatcher.stop, self._settings.grace)
        # What was claimed and not begun has gone back to the queue just now.
        await self._try(self._defer_missing)
        if isinstance(result, EngineError):
            raise result
        return in_time

    async def _try(self, parting: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(parting)
        except OUT_OF_REACH:
            log.warning("left without a word, the database is out of reach")

    async def _work(self, ended: asyncio.Event) -> None:
        """Run procrastinate's worker, again and again: it breaks off when its database is away.

        The dispatcher goes on meanwhile with what is assigned. A worker that is cancelled
        while it breaks off raises what broke it: that it is to end, `ended` alone tells for sure.
        """
        asyncio.get_running_loop().set_exception_handler(_note)
        while not ended.is_set():
            try:
                await asyncio.to_thread(self._check)
                async with self._app.open_async():
                    await self._app.run_worker_async(**self._options())
            except EngineError:
                raise
            except (exceptions.ProcrastinateException, psycopg.Error, *OUT_OF_REACH) as error:
                log.warning("the worker broke off", cause=str(error.__cause__ or error))
            except Exception:
                log.exception("the worker broke off")
            await asyncio.sleep(_PAUSE)

    def _options(self) -> WorkerOptions:
        lease = self._settings.lease
        return {
            "queues": [jobs.QUEUE],
            "concurrency": _AT_A_TIME,
            "fetch_job_polling_interval": self._settings.poll_interval,
            "shutdown_graceful_timeout": _UNWIND,
            "delete_jobs": "always",
            "install_signal_handlers": False,
            "update_heartbeat_interval": lease / _BEATS_PER_LEASE,
            "stalled_worker_timeout": lease,
        }

    def _check(self) -> None:
        """Raise EngineError where there is no queue to work at."""
        with self._database.reading() as db:
            if problem := jobs.problem(db):
                raise EngineError(problem)

    async def _look(self, broadcast_id: str, lane: int = 0, put_off: int = 0) -> None:
        """Have a broadcast assigned until it needs no more looking at."""
        job = Job(broadcast_id, lane, deferrals=put_off)
        await asyncio.wrap_future(self._assigned.take(job))

    async def _sweep(self, timestamp: int) -> None:
        """Put right what nobody else will: jobs without a worker, and broadcasts without a job."""
        del timestamp
        manager, lease = self._app.job_manager, self._settings.lease
        for job in await manager.get_stalled_jobs(queue=jobs.QUEUE, seconds_since_heartbeat=lease):
            await self._retry(job.id)
        for job_id in await asyncio.to_thread(self._overdue):
            await self._retry(job_id)
        await asyncio.to_thread(self._defer_missing)
        await manager.prune_stalled_workers(lease)

    async def _retry(self, job_id: int | None) -> None:
        """Give a job of a dead worker to another one, unless the same waits already."""
        if job_id is None:
            return
        manager, now = self._app.job_manager, datetime.now(UTC)
        try:
            await manager.retry_job_by_id_async(job_id, retry_at=now)
        except exceptions.UniqueViolation:
            await manager.finish_job_by_id_async(job_id, Status.ABORTED, delete_job=True)

    def _overdue(self) -> list[int]:
        with self._database.reading() as db:
            return jobs.overdue(db, LONGEST_TURN + self._settings.lease)

    def _defer_missing(self) -> None:
        with self._database.writing() as db:
            missing = jobs.defer_missing(db, self._settings.lanes, now=now_ms())
        if missing:
            log.info("jobs deferred for broadcasts without one", broadcasts=missing)


def every(seconds: float) -> str:
    """Return the cron expression of an interval, seconds in its sixth place, a minute at most."""
    whole = round(max(1.0, seconds))
    return f"* * * * * */{whole}" if whole < _MINUTE else "* * * * *"


def _connector(settings: Settings) -> procrastinate.PsycopgConnector:
    """Return connections with the limits of the service's own, past a pooler: they listen."""
    url = settings.database_direct_url or settings.database
    return procrastinate.PsycopgConnector(
        connection_class=pg.async_connection(settings),
        kwargs=pg.connect_parameters(url, settings),
        configure=partial(pg.prepare, settings=settings),
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=settings.database_timeout,
    )


def _ending() -> asyncio.Event:
    """Return what is set when this process is asked to end."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody awaits: the end of a job that could not be recorded, or was another's."""
    error = context.get("exception")
    cause = getattr(error, "__cause__", None) or error
    log.warning("a job ended without a record", cause=str(cause or context.get("message")))
