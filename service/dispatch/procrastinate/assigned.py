"""The broadcasts assigned to this process; it claims from no others.

A job assigns a broadcast and ends when the broadcast is released. If the job is interrupted, for
example because the database is unreachable, the broadcast stays assigned until its turn ends.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.config import Settings
from service.core import jobs
from service.core.jobs import Job
from service.database import Database, now_ms
from service.dispatch.loop import Loop

TURN = 10.0
"""Seconds after which a broadcast is released if others wait."""

SHORT_TURN = 1.0
"""Seconds after which the oldest broadcasts are released if others wait and all places are taken.
Their provider may take a minute for each message."""

_RELEASED = 8
"""How many of them at once."""

LONGEST_TURN = 30.0
"""Seconds after which every broadcast goes back to the queue, even if no other waits."""

_MOST_DEFERRALS = 4
"""How many times the delay of a deferred job doubles, starting at one second."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """An assigned broadcast and its job; `done` ends the job."""

    job: Job
    done: Future[None]
    since: float = field(default_factory=time.monotonic)

    def age(self) -> float:
        """Return how many seconds ago the broadcast was assigned."""
        return time.monotonic() - self.since

    def rests(self, looks: dict[str, int], now: int) -> bool:
        """Return whether it has nothing to do now; `looks` has the times of the next checks."""
        return looks.get(self.job.broadcast_id, math.inf) > now


class AssignedBroadcasts:
    """The assigned broadcasts. Its loop releases those with nothing to do."""

    def __init__(
        self, settings: Settings, database: Database, on_taken: Callable[[], None], places: int
    ) -> None:
        self._settings = settings
        self._database = database
        self._on_taken = on_taken
        self._places = places
        self._folders: dict[str, _Folder] = {}
        self._refused: list[_Folder] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self.loop = Loop("assigned", self.turn)

    def broadcast_ids(self) -> list[str]:
        """Return the broadcasts that may be claimed from."""
        with self._lock:
            return list(self._folders)

    def take(self, job: Job) -> Future[None]:
        """Assign a broadcast; return a future that is done when the broadcast is released.

        If the broadcast is already assigned here, the job is deferred: a second one would keep
        other workers from it.
        """
        folder = _Folder(job, Future())
        # From here on, cancelling the job does not cancel the future: `turn` ends it.
        folder.done.set_running_or_notify_cancel()
        with self._lock:
            if self._is_closed:
                _end([folder])
            elif job.broadcast_id in self._folders:
                self._refused.append(folder)
            else:
                self._folders[job.broadcast_id] = folder
        self._on_taken()
        return folder.done

    def turn(self) -> float:
        """Release broadcasts that are idle or had their turn; return seconds until the next turn.

        The next job of a broadcast is deferred before its present job ends.
        """
        with self._lock:
            folders, refused = list(self._folders.values()), list(self._refused)
        if folders or refused:
            self._put_away(folders, refused)
        return self._settings.poll_interval

    def close(self) -> None:
        """Release all broadcasts to other workers, and accept no more."""
        self.loop.stop()
        self.loop.join(self._settings.database_timeout)
        with self._lock:
            self._is_closed = True
            folders = [*self._folders.values(), *self._refused]
            self._folders.clear()
            self._refused.clear()
        try:
            self._defer([_at_once(folder.job, 0) for folder in folders])
        finally:
            _end(folders)

    def _put_away(self, folders: list[_Folder], refused: list[_Folder]) -> None:
        now = now_ms()
        with self._database.reading() as db:
            at_hand = [folder.job.broadcast_id for folder in [*folders, *refused]]
            looks = jobs.next_looks(db, at_hand, now=now)
            others_wait = self._is_full(folders) and jobs.are_waiting(db)
        limit = TURN if others_wait else LONGEST_TURN
        ended = [each for each in folders if each.rests(looks, now) or each.age() > limit]
        if others_wait and not ended:
            ended = folders[:_RELEASED]
        self._remove(ended, refused)
        following = [_following(each, looks, now, _at_once) for each in ended]
        following += [_following(each, looks, now, _put_off) for each in refused]
        try:
            self._defer([job for job in following if job])
        finally:
            _end([*ended, *refused])

    def _is_full(self, folders: list[_Folder]) -> bool:
        """Return whether others may wait for a place, and some broadcast has had a turn."""
        turn = SHORT_TURN if len(folders) >= self._places else TURN
        return any(folder.age() > turn for folder in folders)

    def _remove(self, ended: list[_Folder], refused: list[_Folder]) -> None:
        with self._lock:
            for folder in ended:
                del self._folders[folder.job.broadcast_id]
            self._refused = self._refused[len(refused) :]

    def _defer(self, following: list[Job]) -> None:
        if following:
            with self._database.writing() as db:
                jobs.defer(db, following)


def _following(
    folder: _Folder, looks: dict[str, int], now: int, renew: Callable[[Job, int], Job]
) -> Job | None:
    """Return the next job that a broadcast needs, if any."""
    job = folder.job
    if job.broadcast_id not in looks:
        return None
    if folder.rests(looks, now):
        return job._replace(at=looks[job.broadcast_id], deferrals=0)
    return renew(job, now)


def _at_once(job: Job, _now: int) -> Job:
    return job._replace(at=None, deferrals=0)


def _put_off(job: Job, now: int) -> Job:
    """Return the deferred job: after one second, doubling with each deferral."""
    wait = 2 ** min(job.deferrals, _MOST_DEFERRALS)
    return job._replace(at=now + 1000 * wait, deferrals=job.deferrals + 1)


def _end(folders: list[_Folder]) -> None:
    for folder in folders:
        folder.done.set_result(None)
