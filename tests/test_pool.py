"""The pool of connections: whoever wants one of a silent server is told at once, but for one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from service import pool
from service.pg import SilentError
from service.pool import Outage
from tests.waiting import LIMIT

LATE, EARLY = 0.0, 2 * LIMIT
"""Timeouts of attempts of which any failure comes late, or early."""


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Return an outage that is known, from an attempt that took all of its time."""
    monkeypatch.setattr(pool, "_MOMENT", 0.001)
    outage = Outage()
    fail(outage, LATE)
    return outage


def fail(outage: Outage, timeout: float) -> None:
    with suppress(psycopg.Error), outage.watching(timeout):
        raise psycopg.OperationalError


def test_one_asks_a_silent_server_and_no_other_waits_for_it_meanwhile(outage: Outage) -> None:
    asks, is_back = threading.Event(), threading.Event()

    def ask() -> None:
        with outage.watching(LATE):
            asks.set()
            assert is_back.wait(LIMIT)

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask)
        assert asks.wait(LIMIT)
        for _ in range(50):
            with pytest.raises(SilentError), outage.watching(LATE):
                pass
        is_back.set()
        asking.result(LIMIT)
    with outage.watching(LATE), outage.watching(LATE):
        """All may ask a server that has answered."""


def test_a_server_that_stays_silent_is_asked_by_the_next_one(outage: Outage) -> None:
    for _ in range(3):
        fail(outage, LATE)
        with pytest.raises(SilentError), outage.watching(EARLY), outage.watching(EARLY):
            pass


def test_a_server_that_refuses_at_once_is_not_silent() -> None:
    outage = Outage()
    fail(outage, EARLY)
    with outage.watching(LATE), outage.watching(LATE):
        """Several may ask."""
