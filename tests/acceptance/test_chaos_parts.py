"""What chaos measures and does, apart from a run: each part against something that is real."""

from __future__ import annotations

import json
import math
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from benchmarks.provider import noting
from benchmarks.stub import Taken
from chaos import ledgers, resumptions, under_way
from chaos.clock import Clock
from chaos.event_log import Entry
from chaos.plan import Plan, orders
from chaos.resumptions import Sent, Work
from chaos.upgrade import Upgrade
from service.config import Settings
from service.database import Database
from tests.waiting import LIMIT, until


def away(*spans: tuple[float, float]) -> list[Entry]:
    return [Entry("postgres", "", began, ended) for began, ended in spans]


def sent(*works: tuple[float, float]) -> Sent:
    """Return deliveries of one message each, given by when they were accepted and received."""
    return Sent(sorted(received for _, received in works), [Work(*work) for work in works])


def test_a_time_without_work_is_no_time_without_sending() -> None:
    works = sent((0.0, 1.0), (26.0, 26.5))
    assert resumptions.measure(works, away((8.0, 10.0))) == [0.5]


def test_sending_resumes_from_the_return_where_work_was_left_over() -> None:
    works = sent((0.0, 1.0), (5.0, 12.0), (26.0, 26.5))
    assert resumptions.measure(works, away((8.0, 10.0))) == [2.0]


def test_a_delivery_sent_before_its_acceptance_was_heard_of_counts_as_resumed_at_once() -> None:
    assert resumptions.measure(sent((12.0, 11.0)), away((8.0, 10.0))) == [0.0]


def test_a_return_that_was_over_before_anything_could_be_sent_is_not_counted() -> None:
    works = sent((5.0, 14.0))
    assert resumptions.measure(works, away((8.0, 10.0), (11.0, 13.0))) == [1.0]


def test_a_return_that_was_long_enough_and_saw_nothing_sent_is_counted() -> None:
    works = sent((5.0, 34.0))
    assert resumptions.measure(works, away((8.0, 10.0), (30.0, 33.0))) == [20.0, 1.0]


def test_what_waits_because_a_clock_was_ahead_is_not_counted() -> None:
    clock = [Entry("clock", "everybody by +30 s", 4.0, 6.0, delay=30.0)]
    assert resumptions.measure(sent((5.0, 36.0)), away((8.0, 10.0)), clock) == []


def test_after_nothing_was_left_to_send_no_return_is_counted() -> None:
    assert resumptions.measure(sent((0.0, 1.0)), away((8.0, 10.0))) == []


@pytest.mark.parametrize("seconds", [90.0, 600.0])
def test_no_order_covers_more_than_two_seconds_of_a_plan(seconds: float) -> None:
    plan = Plan(seconds=seconds)
    dues = [order.due for order in orders(plan)]
    gaps = [later - earlier for earlier, later in zip(dues, [*dues[1:], seconds], strict=True)]
    assert max(gaps) <= 2.01


READER = """
import sys, time
sandbox = type(sys)("service.channels.drivers.sandbox.store")
exec("import time\\ndef now(): return time.time_ns()", sandbox.__dict__)
for _ in sys.stdin:
    print(time.time(), time.time_ns() / 1e9, sandbox.now() / 1e9, flush=True)
"""


class Reader:
    """A process that tells what its clocks show when it is asked."""

    def __init__(self, clock: Clock) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER],
            env=clock.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def errors(self) -> list[int]:
        """Return by how many minutes its clocks are wrong: two of the service, the sandbox's."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        shown = map(float, self._process.stdout.readline().split())
        return [round((moment - time.time()) / 60) for moment in shown]

    def close(self) -> None:
        self._process.communicate(timeout=LIMIT)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    clock = Clock(tmp_path / "clock")
    yield clock
    clock.close()


@pytest.fixture
def readers(clock: Clock) -> Iterator[tuple[Reader, Reader]]:
    both = Reader(clock), Reader(clock)
    yield both
    for reader in both:
        reader.close()


def test_a_step_moves_the_clocks_of_all_but_never_the_sandboxs(
    clock: Clock, readers: tuple[Reader, Reader]
) -> None:
    assert [reader.errors() for reader in readers] == [[0, 0, 0]] * 2
    clock.step(-3600)
    assert [reader.errors() for reader in readers] == [[-60, -60, 0]] * 2
    clock.set_right()
    assert [reader.errors() for reader in readers] == [[0, 0, 0]] * 2


def test_a_step_of_one_process_leaves_the_others_right(
    clock: Clock, readers: tuple[Reader, Reader]
) -> None:
    clock.step(3600, readers[0].pid)
    assert [reader.errors() for reader in readers] == [[60, 60, 0], [0, 0, 0]]
    clock.set_right()
    assert readers[0].errors() == [0, 0, 0]


def taken(recipient: str, answered: float = math.inf, closed: float = math.inf) -> Taken:
    return Taken(1.0, recipient, "reference.0", "text", answered, closed)


def test_an_uncertain_message_was_under_way_where_a_kill_closed_its_connection() -> None:
    messages = [taken("open", closed=5.1), taken("unwritten", answered=4.9, closed=5.1)]
    found = under_way.look(["open", "unwritten"], messages, [5.1, 5.1], [5.0])
    assert (found.taken, found.begun, found.neither) == (2, 0, [])


def test_an_uncertain_message_was_not_under_way_where_nothing_was_killed() -> None:
    messages = [taken("closed", closed=8.0), taken("written", answered=2.0, closed=5.1)]
    found = under_way.look(["closed", "written"], messages, [8.0, 5.1], [5.0])
    assert found.neither == ["closed", "written"]


def test_no_more_messages_had_begun_than_connections_were_cut_with_nothing_on_them() -> None:
    messages = [taken("open", closed=5.1)]
    found = under_way.look(["open", "first", "second"], messages, [5.1, 5.1], [5.0])
    assert (found.taken, found.begun, found.neither) == (1, 1, ["second"])


def test_the_stub_writes_down_what_it_takes_before_it_answers(tmp_path: Path) -> None:
    body = {"to": "12025550110", "type": "text", "biz_opaque_callback_data": "6b0baf.0"}
    with noting(tmp_path) as (url, message_log):
        client = HTTPConnection(url.removeprefix("http://"), timeout=LIMIT)
        client.request("POST", "/never/v23.0/1/messages", json.dumps(body))
        until(message_log.taken)
        (unanswered,) = message_log.taken()
        client.close()
        client.request("POST", "/50ms/v23.0/1/messages", json.dumps(body))
        assert json.load(client.getresponse()) == {"messages": [{"id": "wamid.6b0baf.0"}]}
        client.close()
        until(lambda: [each.closed < math.inf for each in message_log.taken()] == [True, True])
        first, second = message_log.taken()
    assert unanswered[1:] == ("12025550110", "6b0baf.0", "text", math.inf, math.inf)
    assert (first.answered, first.closed < math.inf) == (math.inf, True)
    assert second.moment + 0.05 <= second.answered <= second.closed


@pytest.mark.parametrize("damage", ledgers.DAMAGES)
def test_a_ledger_is_found_by_its_process_and_damaged(
    tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    path = tmp_path / "ledgers" / "6b0bafad49ae12dc4e0cd45f"
    path.parent.mkdir()
    before = b"-" * 4096
    path.write_bytes(before)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        (found,) = ledgers.of(os.getpid())
    damage(found)
    assert not path.exists() or path.read_bytes() != before


def shape(database: Database) -> str:
    """Return the definition of the tables that the upgrade alters."""
    looks = inspect(database.engine)
    defined = [
        [table, look, sorted(getattr(looks, f"get_{look}")(table), key=lambda each: each["name"])]
        for table in ("deliveries", "broadcasts")
        for look in ("columns", "indexes", "foreign_keys", "unique_constraints")
    ]
    return json.dumps(defined, default=str, indent=1)


def test_an_upgrade_can_be_taken_back_and_leaves_no_trace(settings: Settings) -> None:
    database = Database(settings)
    upgrade = Upgrade(settings.data_dir, settings.database)
    before = shape(database)
    upgrade.go_on()
    upgrade.go_on()
    with database.reading() as db:
        assert db.execute(text("SELECT note FROM deliveries")).all() == []
    upgrade.go_back()
    assert shape(database) == before
    database.dispose()
