"""Posting: takes the events due at callbacks, and stores the results."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import and_, delete, func, not_, select, update
from sqlalchemy.orm import Session as Db

from service.core import outbox
from service.models import Callback, CallbackEvent, CallbackQueue, Client, EventStatus

LEASE: Final = 60_000
"""Milliseconds after which an event is posted again whose poster said nothing: it has died."""

KEPT_FOR: Final = 7 * 86_400_000
"""Milliseconds for which events are kept."""

MOST_WAITING: Final = 100_000
"""Events that wait for one callback, beyond which it is paused."""

_FIRST_WAIT: Final = 5_000
_LONGEST_WAIT: Final = 600_000

_GONE: Final = 410
"""The status by which a receiver says that it wants no more events."""

OF_ONE: Final = 4
"""Requests that a process has under way to one callback; to one that fails, a single one."""


class DueEvent(NamedTuple):
    """An event that this process posts, because it moved its queue's `due_at` to this time."""

    event_id: str
    callback_id: str
    subject: str
    due_at: int
    url: str
    secrets: str
    body: str
    is_failing: bool


class Result(NamedTuple):
    """The result of posting an event: `status` of the answer (0: none), or a `problem`.

    `wait` is the wait that the receiver asked for, in milliseconds.
    """

    due: DueEvent
    problem: str | None = None
    status: int = 0
    wait: int = 0


def is_due(db: Db, *, now: int) -> bool:
    """Return whether an event may be due. This reads only an index."""
    return db.execute(_due(now).limit(1)).first() is not None


class PostingSlots(NamedTuple):
    """How many requests a process may begin: in all, and to failing callbacks."""

    all: int
    failing: int


def claim(db: Db, *, room: PostingSlots, under_way: Mapping[str, int], now: int) -> list[DueEvent]:
    """Take the first events of due subjects, as far as there is room.

    `under_way` counts requests by callback. The query skips callbacks that have their share: their
    waiting events could exceed its limit.
    """
    full = [each for each, count in under_way.items() if count >= OF_ONE]
    resting = not_(_is_failing()) if room.failing <= 0 else not_(_has_its_one(under_way))
    queues = (
        _due(now)
        .where(Callback.id.not_in(full), resting)
        .order_by(CallbackQueue.due_at)
        .limit(room.all)
        .with_for_update(of=CallbackQueue, skip_locked=True)
    )
    counts = dict(under_way)
    left = room.failing
    found: list[DueEvent] = []
    for queue, callback in db.execute(queues).all():
        count, is_failing = counts.get(callback.id, 0), callback.failing_since is not None
        if count < (min(1, left) if is_failing else OF_ONE):
            counts[callback.id] = count + 1
            left -= is_failing
            found += _first(db, queue, callback, now)
    return found


def _is_failing() -> Any:
    return Callback.failing_since.is_not(None)


def _has_its_one(under_way: Mapping[str, int]) -> Any:
    """Return the condition that a callback fails and has a request under way already."""
    return and_(_is_failing(), Callback.id.in_(list(under_way)))


def _due(now: int) -> Any:
    """Return the query for due queues with their callbacks, except those of disabled clients.

    The events of a disabled client wait: they are posted when it is enabled again, unless they are
    too old by then.
    """
    queues = select(CallbackQueue, Callback).join(
        Callback, Callback.id == CallbackQueue.callback_id
    )
    queues = queues.join(Client, Client.id == Callback.client_id)
    is_on = (Callback.paused_at.is_(None), Client.disabled_at.is_(None))
    return queues.where(CallbackQueue.due_at <= now, *is_on)


def _first(db: Db, queue: CallbackQueue, callback: Callback, now: int) -> list[DueEvent]:
    """Take the first event of a queue; drop a queue that has none."""
    event = db.scalar(_waiting(queue.callback_id, queue.subject).limit(1))
    if event is None:
        db.delete(queue)
        return []
    queue.due_at = now + LEASE
    place = (event.id, queue.callback_id, queue.subject, queue.due_at)
    is_failing = callback.failing_since is not None
    return [DueEvent(*place, callback.url, callback.secrets, event.body, is_failing)]


def settle(
    db: Db, result: Result, *, now: int, draw: Callable[[], float] = random.random
) -> Callback | None:
    """Store the result of posting an event; return its callback if that is now paused.

    Store one event per transaction: a transaction that holds one queue and waits for another could
    block those that store events. An event that another process took over, because this one was
    slow, is not changed.
    """
    due = result.due
    key = (due.callback_id, due.subject)
    queue = db.get(CallbackQueue, key, with_for_update=True, populate_existing=True)
    event = db.get(CallbackEvent, due.event_id, populate_existing=True)
    if queue is None or event is None or queue.due_at != due.due_at:
        return None
    event.attempts += 1
    event.problem = result.problem
    if result.problem is None:
        event.status, event.delivered_at = EventStatus.DELIVERED, now
    else:
        _postpone(event, queue, result, now, draw)
    db.flush()
    if event.status != EventStatus.WAITING:
        _next(db, queue, now)
    reason = _note(db, due.callback_id, result, now)
    return _pause(db, due.callback_id, reason, now) if reason else None


def _postpone(
    event: CallbackEvent,
    queue: CallbackQueue,
    result: Result,
    now: int,
    draw: Callable[[], float],
) -> None:
    """Retry a failed event later, with exponential waits and jitter, or give it up."""
    queue.attempts += 1
    ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(queue.attempts, 16))
    wait = max(min(result.wait, _LONGEST_WAIT), round(ceiling * (0.5 + draw() / 2)))
    queue.due_at = now + wait
    if queue.due_at >= event.expires_at:
        event.status = EventStatus.FAILED


def _next(db: Db, queue: CallbackQueue, now: int) -> None:
    """Make the next event of a queue due now, or drop the queue after its last event."""
    waiting = _waiting(queue.callback_id, queue.subject).with_only_columns(CallbackEvent.id)
    if db.scalar(waiting.limit(1)) is None:
        db.delete(queue)
    else:
        queue.due_at, queue.attempts = now, 0
    db.flush()


def _note(db: Db, callback_id: str, result: Result, now: int) -> str | None:
    """Store since when a callback fails; return the reason if it must be paused."""
    mine = update(Callback).where(Callback.id == callback_id)
    same = {"updated_at": Callback.updated_at, "version": Callback.version}
    if result.problem is None:
        recovered = mine.where(Callback.failing_since.is_not(None))
        _run(db, recovered.values(failing_since=None, **same))
    else:
        healthy = mine.where(Callback.failing_since.is_(None))
        _run(db, healthy.values(failing_since=now, **same))
    if result.status == _GONE:
        return "The receiver answered 410 Gone."
    callback = db.get(Callback, callback_id, populate_existing=True)
    since = callback.failing_since if callback else None
    if since is not None and now - since >= outbox.TRIED_FOR:
        return f"It has failed for a day. The last problem: {result.problem}"
    return None


def pause_full(db: Db, *, now: int) -> list[Callback]:
    """Pause the callbacks for which more than `MOST_WAITING` events wait; return them."""
    waiting = (
        select(CallbackEvent.callback_id)
        .join(Callback, Callback.id == CallbackEvent.callback_id)
        .where(CallbackEvent.status == "waiting", Callback.paused_at.is_(None))
        .group_by(CallbackEvent.callback_id)
        .having(func.count() > MOST_WAITING)
        .order_by(CallbackEvent.callback_id)
    )
    reason = f"More than {MOST_WAITING:,} events wait for it."
    return [_pause(db, each, reason, now) for each in db.scalars(waiting).all()]


def _pause(db: Db, callback_id: str, reason: str, now: int) -> Callback:
    callback = db.get_one(Callback, callback_id)
    callback.paused_at, callback.reason, callback.failing_since = now, reason, None
    db.flush()
    outbox.look_again(db)
    return callback


def forget(db: Db, *, before: int, limit: int) -> int:
    """Delete up to `limit` events that are older than a moment; return how many there were."""
    old = select(CallbackEvent.id).where(CallbackEvent.created_at < before).limit(limit)
    found = db.scalars(old).all()
    _run(db, delete(CallbackEvent).where(CallbackEvent.id.in_(found)))
    return len(found)


def _waiting(callback_id: str, subject: str) -> Any:
    """Return the query for the waiting events of a subject, in order."""
    return (
        select(CallbackEvent)
        .where(CallbackEvent.callback_id == callback_id, CallbackEvent.subject == subject)
        .where(CallbackEvent.status == EventStatus.WAITING)
        .order_by(CallbackEvent.sequence, CallbackEvent.id)
    )


def _run(db: Db, statement: Any) -> None:
    db.execute(statement.execution_options(synchronize_session=False))
