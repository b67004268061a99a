"""Ids that sort by time, and those of deliveries."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import ids

_FORKING = """
import os
from service import ids
for _ in range(4):
    if not os.fork():
        os.write(1, f"{ids.new()[12:]}\\n".encode())
        os._exit(0)
    os.wait()
"""


def test_an_id_is_24_digits_of_hexadecimal() -> None:
    assert re.fullmatch("[0-9a-f]{24}", ids.new())
    assert re.fullmatch("[0-9a-f]{18}000000", ids.new_broadcast())


def test_an_id_begins_with_the_time_in_seconds() -> None:
    before = int(time.time())
    assert before <= int(ids.new()[:8], 16) <= time.time()
    assert before <= int(ids.new_broadcast()[:8], 16) <= time.time()


def test_ids_of_different_moments_sort_by_time() -> None:
    made = []
    for _ in range(200):
        made.append(ids.new())
        _await_next_tick()
    assert made == sorted(made)


def test_ids_made_by_many_threads_at_once_are_all_different() -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(ids.new() for _ in range(2000)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16_000


def test_ids_do_not_go_back_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.new()
    _await_next_tick()
    present = ids.new()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert first[:12] < present[:12] <= ids.new()[:12]
    assert present[:12] <= ids.new_broadcast()[:12]


@given(st.integers(min_value=0, max_value=ids.MOST_DELIVERIES - 1))
def test_a_delivery_is_named_by_its_broadcast_and_its_place(position: int) -> None:
    broadcast_id = ids.new_broadcast()
    delivery_id = ids.delivery(broadcast_id, position)
    assert ids.is_id(delivery_id)
    assert delivery_id[:18] == broadcast_id[:18]
    assert int(delivery_id[18:], 16) == position + 1


def test_the_deliveries_of_a_broadcast_sort_by_place_and_lie_together() -> None:
    earlier = ids.new_broadcast()
    _await_next_tick()
    later = ids.new_broadcast()
    places = [0, 1, 15, 16, 999_999, ids.MOST_DELIVERIES - 1]
    blocks = [[ids.delivery(each, place) for place in places] for each in (earlier, later)]
    assert blocks[0] + blocks[1] == sorted(blocks[1] + blocks[0])
    assert earlier < blocks[0][0]
    assert blocks[0][-1] < later


def test_only_lower_case_digits_and_nothing_around_them_are_an_id() -> None:
    good = ids.new()
    assert ids.is_id(good)
    for bad in ("", good[:-1], good + "0", good[:-1] + "G", f" {good[1:]}", f"{good}\n"):
        assert not ids.is_id(bad)
    assert not ids.is_id(good.replace("a", "A") + "A")


def test_processes_forked_from_one_do_not_make_the_same_ids() -> None:
    """The workers of `gunicorn --preload` come from one process that had begun to count."""
    forked = subprocess.run([sys.executable, "-c", _FORKING], check=True, stdout=subprocess.PIPE)
    assert len(set(forked.stdout.split())) == 4


def _await_next_tick() -> None:
    present = (time.time_ns() << 16) // 1_000_000_000
    while (time.time_ns() << 16) // 1_000_000_000 == present:
        pass
