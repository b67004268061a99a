"""What one writes by hand: a loop of claim, curl and flush a thread, without ORM, on the same rows.

It is as fast as its author could make it, and promises less: it holds no lease, fences no write,
keeps no rate, retries nothing, and what a thread has claimed when it dies stays claimed.

    python -m benchmarks.byhand POSTGRES_URL BROADCAST_ID PROVIDER_URL
"""

from __future__ import annotations

import json
import sys
import threading
import time

import psycopg
import pycurl

from benchmarks import message

THREADS = 4
"""As many as were fastest on two cores: 1, 2, 4, 8 and 16 were tried."""

_AT_ONCE = 500

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


class Line:
    """A curl handle to the provider, its connection kept alive."""

    def __init__(self, url: str) -> None:
        self._said: list[bytes] = []
        self._curl = pycurl.Curl()
        self._curl.setopt(pycurl.URL, f"{url}{message.PATH}")
        headers = [f"{name}: {value}" for name, value in message.HEADERS.items()]
        self._curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        self._curl.setopt(pycurl.WRITEFUNCTION, self._said.append)
        self._curl.setopt(pycurl.NOSIGNAL, 1)

    def send(self, recipient: str, reference: str) -> str:
        """Send one message and return the provider's id of it."""
        self._said.clear()
        self._curl.setopt(pycurl.POSTFIELDS, message.body(recipient, reference))
        self._curl.perform()
        if self._curl.getinfo(pycurl.RESPONSE_CODE) != 200:  # noqa: PLR2004 - HTTP's OK
            raise RuntimeError(self._said)
        return str(json.loads(b"".join(self._said))["messages"][0]["id"])


def loop(url: str, broadcast_id: str, provider_url: str) -> None:
    """Claim, curl and flush until nothing is left."""
    line = Line(provider_url)
    with psycopg.connect(url, autocommit=True) as db:
        while rows := db.execute(_CLAIM, (broadcast_id, _AT_ONCE)).fetchall():
            taken = [line.send(recipient, delivery_id) for delivery_id, recipient in rows]
            now, ids = time.time_ns() // 1_000_000, [delivery_id for delivery_id, _ in rows]
            values = {"ids": ids, "taken": taken, "now": now, "broadcast": broadcast_id}
            db.execute(_FLUSH, values)


def main() -> None:
    """Run the threads."""
    arguments = tuple(sys.argv[1:4])
    threads = [threading.Thread(target=loop, args=arguments) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
