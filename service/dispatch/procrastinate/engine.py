"""The engine `procrastinate`: a worker process that sends the broadcasts named by its jobs.

POST → job ─(procrastinate)→ AssignedBroadcasts ─→ Dispatcher, which claims only from these
              ↖ jobs for broadcasts that need another turn, here or elsewhere

It needs the extra `procrastinate`, and only commands that run it import it. `service.core.jobs`
defines the jobs. As with the built-in engine, the dispatcher ensures that nothing is sent twice or
lost.
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
"""Broadcasts assigned to a process at once. Each costs a coroutine and a part of a query."""

_CONNECTIONS = 4
"""Connections for jobs. A job holds one for a single short statement."""

_BEATS_PER_LEASE = 6
_PAUSE = 1.0
"""Seconds before a failed worker starts again."""

_UNWIND = 2
"""Seconds in which the jobs of a failed worker may end by themselves."""

_SWEEP = "crier.sweep"
_URGENT = 100
"""The priority of the sweep: it must not wait behind other jobs under load."""

_MINUTE = 60


class EngineError(Exception):
    """The engine cannot run with this configuration."""


def set_up(database: Database) -> bool:
    """Create procrastinate's tables; return whether that was needed. Raises EngineError."""
    with database.reading() as db:
        problem = jobs.problem(db)
    if problem == jobs.NO_QUEUE:
        with database.writing() as db:
            driver: Any = db.connection().connection.driver_connection
            driver.execute(SchemaManager.get_schema())
    elif problem:
        raise EngineError(problem)
    return problem is not None


class Engine:
    """A procrastinate worker and a dispatcher in one process."""

    def __init__(self, settings: Settings, database: Database, dispatcher: Dispatcher) -> None:
        # It logs the start and end of each job.
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        self._settings = settings
        self._database = database
        self._dispatcher = dispatcher
        self._assigned = AssignedBroadcasts(settings, database, dispatcher.wake, _AT_A_TIME)
        self._app = procrastinate.App(connector=_connector(settings))
        self._app.task(name=jobs.TASK, queue=jobs.QUEUE)(self._look)
        sweep = self._app.task(
            name=_SWEEP, queue=jobs.QUEUE, queueing_lock=_SWEEP, priority=_URGENT
        )(self._sweep)
        self._app.periodic(cron=every(settings.sweep_interval))(sweep)

    async def run(self) -> bool:
        """Work until SIGTERM or SIGINT; return whether all sends under way ended in time.

        Raises EngineError if the database has no queue.
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
        """Release unbegun deliveries to other workers, then stop the dispatcher."""
        self._dispatcher.drain()
        working.cancel()
        await self._try(self._assigned.close)
        [result] = await asyncio.gather(working, return_exceptions=True)
        in_time = await asyncio.to_thread(self._dispatcher.stop, self._settings.grace)
        # Claims that had not begun are back in the queue now.
        await self._try(self._defer_missing)
        if isinstance(result, EngineError):
            raise result
        return in_time

    async def _try(self, parting: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(parting)
        except OUT_OF_REACH:
            log.warning("stopped without unregistering: the database is unreachable")

    async def _work(self, ended: asyncio.Event) -> None:
        """Run procrastinate's worker, and restart it when it loses its database.

        Meanwhile the dispatcher continues with the assigned broadcasts. A worker that is cancelled
        while it fails raises its own error, so only `ended` reliably says that it must end.
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
                log.warning("the worker failed", cause=str(error.__cause__ or error))
            except Exception:
                log.exception("the worker failed")
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
        """Raise EngineError if the database has no queue."""
        with self._database.reading() as db:
            if problem := jobs.problem(db):
                raise EngineError(problem)

    async def _look(self, broadcast_id: str, lane: int = 0, put_off: int = 0) -> None:
        """Assign a broadcast until it has nothing more to do."""
        job = Job(broadcast_id, lane, deferrals=put_off)
        await asyncio.wrap_future(self._assigned.take(job))

    async def _sweep(self, timestamp: int) -> None:
        """Repair the queue: jobs without a worker, and broadcasts without a job."""
        del timestamp
        manager, lease = self._app.job_manager, self._settings.lease
        for job in await manager.get_stalled_jobs(queue=jobs.QUEUE, seconds_since_heartbeat=lease):
            await self._retry(job.id)
        for job_id in await asyncio.to_thread(self._overdue):
            await self._retry(job_id)
        await asyncio.to_thread(self._defer_missing)
        await manager.prune_stalled_workers(lease)

    async def _retry(self, job_id: int | None) -> None:
        """Retry a job of a dead worker, unless an equal job already waits."""
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
    """Return the cron expression of an interval of at most a minute, with seconds in field six."""
    whole = round(max(1.0, seconds))
    return f"* * * * * */{whole}" if whole < _MINUTE else "* * * * *"


def _connector(settings: Settings) -> procrastinate.PsycopgConnector:
    """Return a connector with Crier's own limits. It bypasses a pooler, because it listens."""
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
    """Return an event that is set on SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log errors that no task awaits: a job's end that could not be recorded."""
    error = context.get("exception")
    cause = getattr(error, "__cause__", None) or error
    log.warning("a job ended without a record", cause=str(cause or context.get("message")))
