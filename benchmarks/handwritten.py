"""What one writes by hand: claim, curl and flush on the same rows, without an ORM.

One thread has many messages under way over curl's multi handle; two others claim ahead and write
results. It is as fast as its author could make it, and it promises less: it holds no lease, fences
no write, keeps no rate, retries nothing, and what it has claimed when it dies stays claimed.

    python -m benchmarks.handwritten POSTGRES_URL BROADCAST_ID PROVIDER_URL UNDER_WAY
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator

import psycopg

from benchmarks import limits, multi

_AT_ONCE = 1_000
_AHEAD = 2
"""Claims that wait to be sent."""

_CLAIM = """
    UPDATE deliveries SET status = 'sending' WHERE id = ANY(ARRAY(
        SELECT id FROM deliveries WHERE broadcast_id = %s AND status = 'queued'
        ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING id, recipient
"""
_FLUSH = """
    WITH flushed AS (
        UPDATE deliveries AS d SET status = 'sent', attempts = attempts + 1, message_ids = o.taken,
            sent_at = %(now)s, updated_at = %(now)s
        FROM unnest(%(ids)s::text[], %(taken)s::text[]) AS o(id, taken)
        WHERE d.id = o.id AND d.id = ANY(%(ids)s::text[])
        RETURNING 1)
    UPDATE broadcasts SET sent = sent + (SELECT count(*) FROM flushed) WHERE id = %(broadcast)s
"""


class Loop:
    """One broadcast, from the rows to the provider and back."""

    def __init__(self, url: str, broadcast_id: str) -> None:
        self._url = url
        self._broadcast_id = broadcast_id
        self._claimed: queue.Queue[list[tuple[str, str]]] = queue.Queue(_AHEAD)
        self._sent: queue.Queue[list[tuple[str, str]]] = queue.Queue()

    def run(self, provider_url: str, under_way: int) -> None:
        """Send until nothing is left."""
        threads = [threading.Thread(target=each) for each in (self._claim, self._flush)]
        for thread in threads:
            thread.start()
        batch = []
        for taken in multi.send_all(provider_url, self._messages(), under_way):
            batch.append(taken)
            if len(batch) >= _AT_ONCE:
                self._sent.put(batch)
                batch = []
        self._sent.put(batch)
        self._sent.put([])
        for thread in threads:
            thread.join()

    def _messages(self) -> Iterator[tuple[str, str]]:
        while rows := self._claimed.get():
            yield from rows

    def _claim(self) -> None:
        rows: list[tuple[str, str]] = [("", "")]
        with psycopg.connect(self._url, autocommit=True) as db:
            while rows:
                rows = db.execute(_CLAIM, (self._broadcast_id, _AT_ONCE)).fetchall()
                self._claimed.put(rows)

    def _flush(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as db:
            while batch := self._sent.get():
                ids, taken = map(list, zip(*batch, strict=True))
                values = {"ids": ids, "taken": taken, "now": time.time_ns() // 1_000_000}
                db.execute(_FLUSH, values | {"broadcast": self._broadcast_id})


def main() -> None:
    """Run."""
    limits.at_most()
    url, broadcast_id, provider_url, under_way = sys.argv[1:]
    Loop(url, broadcast_id).run(provider_url, int(under_way))


if __name__ == "__main__":
    main()
