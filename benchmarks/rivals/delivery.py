"""What a task does: ask the provider by requests, write the result into Postgres."""

from __future__ import annotations

import os
import threading

import psycopg
import requests  # type: ignore[import-untyped,unused-ignore]

from benchmarks import message

_RESULT = "UPDATE results SET message_id = %s, sent_at = now() WHERE id = %s"
_TIMEOUT = 30.0


class _Connections(threading.local):
    """A thread's connections, kept alive from task to task."""

    def __init__(self) -> None:
        self.http = requests.Session()
        self.http.headers.update(message.HEADERS)
        self.database = psycopg.connect(os.environ["RESULTS"], autocommit=True)


_mine = _Connections()


def deliver(delivery_id: int, recipient: str) -> None:
    """Send one message and write down the provider's id of it."""
    url = os.environ["PROVIDER"] + message.PATH
    body = message.body(recipient, str(delivery_id)).encode()
    answer = _mine.http.post(url, body, timeout=_TIMEOUT)
    answer.raise_for_status()
    _mine.database.execute(_RESULT, (answer.json()["messages"][0]["id"], delivery_id))


def pending() -> list[tuple[int, str]]:
    """Return the recipients that a task is to be made for."""
    with psycopg.connect(os.environ["RESULTS"]) as database:
        return database.execute("SELECT id, recipient FROM results ORDER BY id").fetchall()
