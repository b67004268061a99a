"""What benchmarks measure with and say: each part against something that is real."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import __main__ as main
from benchmarks import multi, provider, results, stub, task_queues
from benchmarks.figures import Report
from benchmarks.neighbours import most_in_a_second
from benchmarks.provider import noting
from benchmarks.sentences import ROWS
from benchmarks.workspace import BenchmarkError, running
from tests.waiting import until

MACHINE = {
    "taken_at": "2026-11-29T10:00:00+00:00",
    "cores": 2,
    "processor": "Tyrell 6",
    "load": 0.1,
    "busy": False,
}


def test_messages_within_a_second_are_counted_wherever_it_begins() -> None:
    assert most_in_a_second([]) == 0
    assert most_in_a_second([0.0, 0.5, 0.99, 1.0, 1.2, 1.6]) == 4


def test_a_service_that_logs_an_error_is_not_measured(tmp_path: Path) -> None:
    line = '{"level": "error", "event": "a turn failed"}'
    with (
        pytest.raises(BenchmarkError, match="a turn failed"),
        running(["sh", "-c", f"echo '{line}'; sleep 60"], tmp_path / "log"),
    ):
        until(lambda: line in (tmp_path / "log").read_text())


@pytest.mark.parametrize("under_way", [3, 70])
def test_the_loop_by_hand_sends_each_message_once(tmp_path: Path, under_way: int) -> None:
    messages = [(f"{number:024x}", str(12025552000 + number)) for number in range(200)]
    with noting(tmp_path) as (url, message_log):
        taken = dict(multi.send_all(f"{url}/5ms", iter(messages), under_way))
        received = Counter(each.recipient for each in message_log.taken())
    assert taken == {reference: f"wamid.{reference}.0" for reference, _ in messages}
    assert received == dict.fromkeys(dict(messages).values(), 1)


def test_a_row_of_which_a_figure_was_not_taken_is_left_out_of_the_readme() -> None:
    first, second, *_ = ROWS
    figures = [
        {"group": group, "name": name, "value": 12345.0} for group, name in first.figures.values()
    ]
    figures += [
        {"group": group, "name": name, "value": None} for group, name in second.figures.values()
    ]
    block = results.numbers({"machine": MACHINE, "command": "make bench", "figures": figures})
    assert f"| {first.what} | Postgres 12,345;" in block
    assert second.what not in block


def test_numbers_are_put_between_their_lines_and_nowhere_else() -> None:
    result = {"machine": MACHINE, "command": "make bench", "figures": []}
    readme = f"before\n{results.START}\nold\n{results.END}\nafter\n"
    made = results.with_numbers(readme, result)
    assert (made[:6], made[-7:]) == ("before", "\nafter\n")
    assert "old" not in made
    assert results.with_numbers(made, result) == made


def test_what_to_install_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "missing", lambda: ["nginx-light"])
    monkeypatch.setattr(task_queues, "missing", lambda: ["redis-server"])
    first, *rest = main.missing().splitlines()
    assert "apt-get install nginx-light redis-server" in first
    assert "left out without: throughput, personal, pressure, endurance, Celery, Dramatiq" in first
    assert rest == []


def test_only_what_has_to_hold_is_judged() -> None:
    report = Report()
    report.add("group", "printed", 3.0, "/s")
    report.add("group", "held", 3.0, "times", least=2.0)
    report.add("group", "missed", 3.0, "times", most=2.0)
    assert [each.met for each in report.figures] == [None, True, False]


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "message_log"
    path.write_text("taken 1.5 1 12025550110 a.0 text\nansw")
    assert stub.MessageLog(path).moments() == [1.5]
