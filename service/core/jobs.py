"""Jobs of the engine `procrastinate`. A job only says "look at this broadcast".

The claim decides what to send, so an extra job costs one look, and the engine's sweep replaces a
missing one. The transaction that creates work also defers the job, through procrastinate's own SQL
functions. So no broadcast is without a job, no job is without its broadcast, and web workers do not
need the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service.models import FOREVER, Broadcast, BroadcastStatus

QUEUE = "crier"
TASK = "crier.dispatch"

_PER_LANE = 1_000
"""Recipients per worker: fewer do not need another worker."""

_SOON = 30
"""Seconds within which a waiting job runs: longer than any deferral."""


class Job(NamedTuple):
    """A look at a broadcast: now, or at `at` in Unix milliseconds.

    Each lane of a broadcast is for one worker. `deferrals` counts how often a worker that already
    had the broadcast left this job to others.
    """

    broadcast_id: str
    lane: int
    at: int | None = None
    deferrals: int = 0


def for_broadcast(broadcast: Broadcast, most: int) -> list[Job]:
    """Return the jobs that a broadcast needs now, one per lane."""
    at = broadcast.send_at if broadcast.status == BroadcastStatus.SCHEDULED else None
    if at is None and broadcast.status != BroadcastStatus.SENDING:
        return []
    return [Job(broadcast.id, lane, at) for lane in range(_lanes(broadcast.total, most))]


# Jobs in queues of version 1.0 call deferrals `put_off`. A queueing lock allows one waiting job per
# name. A job for a later time has its own name, so that it does not block an immediate one.
_DEFER = text("""
    WITH wanted AS (
        SELECT jsonb_build_object(
                'broadcast_id', broadcast_id, 'lane', lane, 'put_off', deferrals) AS args,
            to_timestamp(at / 1000.0) AS at,
            broadcast_id || '/' || lane || CASE WHEN at IS NULL THEN '' ELSE '+' END AS name,
            broadcast_id
        FROM unnest(CAST(:broadcast_id AS text[]), CAST(:lane AS int[]), CAST(:at AS bigint[]),
            CAST(:deferrals AS int[])) AS job(broadcast_id, lane, at, deferrals))
    SELECT procrastinate_defer_jobs_v1(array_agg(
        CAST(ROW(CAST(:queue AS varchar), CAST(:task AS varchar), priority, NULL, name, args, at)
            AS procrastinate_job_to_defer_v1) ORDER BY name))
    FROM wanted CROSS JOIN LATERAL (
        SELECT -CAST(count(*) AS integer) AS priority FROM (
            SELECT FROM broadcasts AS mine JOIN sessions AS s ON s.client_id = mine.client_id
            CROSS JOIN LATERAL (
                SELECT FROM broadcasts AS b
                WHERE b.session_id = s.id AND b.status = 'sending' AND b.closed_at IS NULL
                LIMIT :most) AS other
            WHERE mine.id = wanted.broadcast_id LIMIT :most) AS others) AS client
    WHERE NOT EXISTS (
        SELECT FROM procrastinate_jobs WHERE queueing_lock = wanted.name AND status = 'todo')
""")

_MOST_COUNTED = 1_000
"""A client's broadcasts that lower the priority of its next job, at most."""


def defer(db: Db, jobs: Sequence[Job]) -> None:
    """Defer jobs, except those that already wait.

    The more broadcasts of a client are being sent, the lower is the priority of its next job. So
    clients take turns, however many broadcasts each of them has.
    """
    if not jobs:
        return
    columns = dict(zip(Job._fields, map(list, zip(*jobs, strict=True)), strict=True))
    try:
        with db.begin_nested():
            db.execute(_DEFER, columns | {"queue": QUEUE, "task": TASK, "most": _MOST_COUNTED})
    except IntegrityError:  # another process is deferring one of them
        if len(jobs) > 1:
            for job in jobs:
                defer(db, [job])


# The time of the next work of a broadcast: now if deliveries are due or being sent (they may fail),
# otherwise the next retry. A window that has closed is looked at again after the sweep moved it on.
_REOPENING = 5_000
"""Milliseconds until a closed window has a new opening; see `core.openings`."""

_NEXT = f"""
    SELECT b.id, b.total, CASE
        WHEN b.status = 'scheduled' THEN b.send_at
        ELSE greatest(s.held_until, b.opens_at, s.opens_at, CASE
            WHEN least(b.closes_at, s.closes_at) <= :now THEN :now + {_REOPENING} END, CASE
            WHEN queued.due_at <= :now
                OR EXISTS (SELECT FROM recipient_chunks WHERE broadcast_id = b.id)
                OR EXISTS (SELECT FROM deliveries
                           WHERE broadcast_id = b.id AND deliveries.status = 'sending') THEN :now
            ELSE queued.due_at END) END AS at
    FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id CROSS JOIN LATERAL (
        SELECT min(due_at) AS due_at FROM deliveries
        WHERE broadcast_id = b.id AND deliveries.status = 'queued') AS queued
    WHERE b.closed_at IS NULL AND b.expires_at > :now AND b.status IN ('scheduled', 'sending')
        AND s.held_until < {FOREVER}
"""  # noqa: S608 - a number of ours
_NEXT_OF = text(f"{_NEXT} AND b.id = ANY(:ids)")


def next_looks(db: Db, broadcast_ids: Sequence[str], *, now: int) -> dict[str, int]:
    """Return when to look at broadcasts next, in Unix milliseconds.

    Broadcasts without work are missing from the result.
    """
    rows = db.execute(_NEXT_OF, {"ids": list(broadcast_ids), "now": now})
    return {row.id: row.at for row in rows if row.at is not None}


_UNATTENDED = text(f"""
    SELECT id, total FROM ({_NEXT}) AS open WHERE at <= :now AND NOT EXISTS (
        SELECT FROM procrastinate_jobs AS j
        WHERE j.queue_name = :queue AND j.args ->> 'broadcast_id' = open.id
            AND (j.status = 'doing' OR (j.status = 'todo' AND (
                j.scheduled_at IS NULL OR j.scheduled_at <= now() + make_interval(secs => :soon)))))
""")  # noqa: S608 - the text is ours


def defer_missing(db: Db, most: int, *, now: int) -> int:
    """Defer jobs for broadcasts that need one and have none; return how many."""
    rows = db.execute(_UNATTENDED, {"now": now, "queue": QUEUE, "soon": _SOON}).all()
    defer(db, [Job(row.id, lane) for row in rows for lane in range(_lanes(row.total, most))])
    return len(rows)


_WAITING = text("""
    SELECT EXISTS (SELECT FROM procrastinate_jobs
                   WHERE queue_name = :queue AND status = 'todo'
                       AND (scheduled_at IS NULL OR scheduled_at <= now()))
""")


def are_waiting(db: Db) -> bool:
    """Return whether jobs are waiting for a free worker."""
    return bool(db.scalar(_WAITING, {"queue": QUEUE}))


_OVERDUE = text("""
    SELECT id FROM procrastinate_jobs AS j
    WHERE queue_name = :queue AND status = 'doing' AND NOT EXISTS (
        SELECT FROM procrastinate_events AS e
        WHERE e.job_id = j.id AND e.type = 'started'
            AND e.at > now() - make_interval(secs => :seconds))
""")


def overdue(db: Db, seconds: float) -> list[int]:
    """List jobs that started longer ago than any job takes: their end was not recorded."""
    return list(db.scalars(_OVERDUE, {"queue": QUEUE, "seconds": seconds}))


_FUNCTIONS = text("""
    SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS tables,
        to_regproc('procrastinate_defer_jobs_v1') IS NOT NULL
            AND to_regproc('procrastinate_retry_job_v2') IS NOT NULL AS functions
""")


NO_QUEUE = (
    "This database has no queue for DISPATCH=procrastinate: run `.venv/bin/flask engine setup`."
)


def problem(db: Db) -> str | None:
    """Return why jobs cannot be deferred in this database; None if they can."""
    found = db.execute(_FUNCTIONS).one()
    if not found.tables:
        return NO_QUEUE
    if not found.functions:
        return (
            "The queue in this database is of an older procrastinate: apply its migrations"
            " (https://procrastinate.readthedocs.io/en/stable/howto/production/migrations.html)."
        )
    return None


def _lanes(total: int, most: int) -> int:
    return max(1, min(most, -(-total // _PER_LANE)))
