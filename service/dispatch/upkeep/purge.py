"""The purge: deletes old, closed broadcasts in small steps with pauses.

Each step is a transaction, so that senders wait for one step at most. If a purge is interrupted,
the next one continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from service.channels.drivers import sandbox
from service.core import attachments, daily_limits, retention, rosters
from service.core.retention import PartKey
from service.core.storage import Storage
from service.database import Database, now_ms

T = TypeVar("T")

_BROADCASTS = 200
_ROWS = 5_000
_SHORTEST_REST = 0.02


@dataclass(slots=True)
class Purged:
    """What was deleted, or would be deleted in a dry run."""

    broadcasts: int = 0
    deliveries: int = 0
    receipts: int = 0
    replies: int = 0
    entries: int = 0
    files: int = 0
    sandbox: int = 0


class Purge:
    """Deletes everything that was closed before a time."""

    def __init__(  # noqa: PLR0913 - what it deletes is kept in three places
        self,
        database: Database,
        storage: Storage,
        sandbox_store: Path,
        *,
        before: int,
        audited_before: int = 0,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the time limits in Unix milliseconds, and a function to call between two steps.

        `audited_before` is the limit of the audit log.
        """
        self._database = database
        self._storage = storage
        self._sandbox_store = sandbox_store
        self._before = before
        self._audited_before = audited_before
        self._rest = rest
        self._done = Purged()

    def look(self) -> Purged:
        """Return what `run` would delete."""
        with self._database.reading() as db:
            found = retention.extent(db, before=self._before, audited_before=self._audited_before)
            files = attachments.sweep(db, self._storage, now=time.time(), remove=False)
        return Purged(*found, files, sandbox.extent(self._sandbox_store, self._before))

    def run(self) -> Purged:
        """Delete everything in steps; return the numbers of deleted rows."""
        self._forget_broadcasts()
        self._forget_parts()
        for forget_some in (
            self._forget_receipts,
            self._forget_replies,
            self._forget_entries,
            self._forget_tokens,
            self._forget_rosters,
            self._forget_sandbox,
        ):
            self._repeat(forget_some)
        with self._database.writing() as db:
            daily_limits.forget(db, now=now_ms())
        with self._database.reading() as db:
            self._done.files = attachments.sweep(db, self._storage, now=time.time())
        return self._done

    def _step(self, step: Callable[[], T]) -> T:
        """Take a step, then rest as long as it took; return whether, or where, to go on."""
        began = time.monotonic()
        more = step()
        self._rest(max(_SHORTEST_REST, time.monotonic() - began))
        return more

    def _repeat(self, step: Callable[[], bool]) -> None:
        """Take a step until it has nothing left to do."""
        while self._step(step):
            pass

    def _forget_broadcasts(self) -> None:
        last = ""
        while some := self._hide(last):
            self._repeat(partial(self._forget, some))
            last = some[-1]

    def _hide(self, after: str) -> list[str]:
        with self._database.writing() as db:
            return retention.hide(
                db, before=self._before, after=after, limit=_BROADCASTS, now=now_ms()
            )

    def _forget(self, ids: list[str]) -> bool:
        with self._database.writing() as db:
            deliveries, broadcasts = retention.forget(db, ids, before=self._before, limit=_ROWS)
        self._done.deliveries += deliveries
        self._done.broadcasts += broadcasts
        return deliveries == _ROWS

    def _forget_parts(self) -> None:
        last = PartKey()
        while next_one := self._step(partial(self._forget_some_parts, last)):
            last = next_one

    def _forget_some_parts(self, after: PartKey) -> PartKey | None:
        with self._database.writing() as db:
            return retention.forget_parts(db, after=after, limit=_ROWS, now=now_ms())

    def _forget_receipts(self) -> bool:
        with self._database.writing() as db:
            count = retention.forget_receipts(db, before=self._before, limit=_ROWS)
        self._done.receipts += count
        return count > 0

    def _forget_replies(self) -> bool:
        with self._database.writing() as db:
            count = retention.forget_replies(db, before=self._before, limit=_ROWS)
        self._done.replies += count
        return count == _ROWS

    def _forget_entries(self) -> bool:
        with self._database.writing() as db:
            count = retention.forget_audit(db, before=self._audited_before, limit=_ROWS)
        self._done.entries += count
        return count == _ROWS

    def _forget_rosters(self) -> bool:
        with self._database.writing() as db:
            return rosters.forget(db, now=now_ms())

    def _forget_sandbox(self) -> bool:
        count = sandbox.forget(self._sandbox_store, self._before, _ROWS)
        self._done.sandbox += count
        return count == _ROWS

    def _forget_tokens(self) -> bool:
        """Delete ended tokens once the audit log has no entries of them."""
        with self._database.writing() as db:
            return retention.forget_tokens(db, before=self._audited_before, limit=_ROWS) == _ROWS
