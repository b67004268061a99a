"""How many sender threads work."""

from __future__ import annotations

import threading

import pytest

from service.dispatch.crew import ALONE, FAST, FIRST, LEAST, Crew
from tests.waiting import until


class Machine:
    """A processor whose use and whose clock are told."""

    def __init__(self) -> None:
        self.used = self.now = 0.0

    def pass_by(self, busy: float) -> None:
        """Let a second go by in which so much of a processor was used."""
        self.used += busy
        self.now += 1.0


def crew(machine: Machine, size: int) -> Crew:
    return Crew(size, used=lambda: machine.used, clock=lambda: machine.now)


def settle(crew: Crew, machine: Machine, busy: float, *, waits: bool = True) -> int:
    for _ in range(20):
        machine.pass_by(busy)
        crew.adjust(waits=waits)
    return crew.working


@pytest.mark.parametrize(("size", "first", "fewest"), [(256, FIRST, LEAST), (2, 2, 2), (1, 1, 1)])
def test_fewer_work_while_the_processor_is_busy_and_all_when_it_is_not(
    size: int, first: int, fewest: int
) -> None:
    machine = Machine()
    threads = crew(machine, size)
    assert threads.working == first
    assert settle(threads, machine, 0.1, waits=False) == first
    assert settle(threads, machine, 0.1) == size
    assert settle(threads, machine, 0.5) == size
    assert settle(threads, machine, 1.0) == fewest
    assert settle(threads, machine, 0.5) == fewest
    assert settle(threads, machine, 0.1) == size


def test_behind_a_provider_that_answers_at_once_few_work_and_each_has_more_under_way() -> None:
    machine = Machine()
    threads = crew(machine, 16)
    assert threads.share == 1
    threads.called(1, FAST / 2)
    assert settle(threads, machine, 0.3) == FIRST
    assert threads.share == 16 // FIRST
    assert settle(threads, machine, 0.5) == LEAST
    assert threads.share == 16 // LEAST
    threads.called(8, FAST / 2)
    assert settle(threads, machine, 0.5) == ALONE
    assert threads.share == 16
    # What takes its calls little and the processor nothing may have more.
    assert settle(threads, machine, 0.1) == 16
    assert threads.share == 1


def test_where_calls_take_longer_again_each_has_one_under_way() -> None:
    machine = Machine()
    threads = crew(machine, 16)
    threads.called(1, FAST / 2)
    settle(threads, machine, 0.5)
    threads.called(1, FAST / 2)
    threads.called(1, FAST * 3)
    settle(threads, machine, 0.5)
    assert threads.share == 1


def test_whoever_is_not_needed_waits_until_needed_again() -> None:
    machine = Machine()
    threads = crew(machine, 16)
    settle(threads, machine, 1.0)
    threads.wait(LEAST - 1)
    waiting = threading.Thread(target=threads.wait, args=(LEAST,), daemon=True)
    waiting.start()
    settle(threads, machine, 0.5)
    assert waiting.is_alive()
    settle(threads, machine, 0.2)
    until(lambda: not waiting.is_alive())


def test_all_are_released_for_the_end() -> None:
    machine = Machine()
    threads = crew(machine, 16)
    settle(threads, machine, 1.0)
    threads.release()
    for number in range(16):
        threads.wait(number)
