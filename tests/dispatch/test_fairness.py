"""What one client leaves to another, by all the threads of a process, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from service.channels.workers import Workers
from service.dispatch.dispatcher import Dispatcher
from tests.probe import Call, Stage
from tests.waiting import LIMIT, until
from tests.world import ADA, World, numbers

Start = Callable[..., Dispatcher]


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Return what starts a dispatcher, which stops with the test."""
    running: list[Dispatcher] = []

    def start(**changes: object) -> Dispatcher:
        dispatcher = world.dispatcher(poll_interval=0.05, flush_interval=0.01, **changes)
        running.append(dispatcher)
        dispatcher.start()
        return dispatcher

    yield start
    for dispatcher in running:
        assert dispatcher.stop(LIMIT)


@pytest.fixture
def door(stage: Stage) -> Iterator[threading.Event]:
    """Return what lets providers answer; until then they answer only about one recipient."""
    opened = threading.Event()

    def send(call: Call) -> str:
        assert call.recipient == ADA or opened.wait(60)
        return f"id-{call.reference}"

    stage.send = send
    yield opened
    opened.set()


def sent(world: World) -> int:
    return int(world.ask("SELECT coalesce(sum(sent), 0) AS n FROM broadcasts")[0].n)


def beside(world: World) -> World:
    """Return another client with a session."""
    other = world.neighbour()
    other.session("probe")
    return other


def test_a_single_delivery_starts_though_twenty_sessions_of_another_client_are_never_answered(
    world: World, start: Start, door: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And though none of their messages counts as late: their provider may be slow as usual."""
    monkeypatch.setattr("service.dispatch.sending.limits.PATIENCE", 3_600.0)
    monkeypatch.setattr("tests.probe.WORKERS", Workers("probe", 200))
    for _ in range(20):
        world.broadcast(numbers(50), session_id=world.session("probe"))
    start(in_flight=16, claim_batch=50)
    until(lambda: world.ask("SELECT count(*) AS n FROM deliveries WHERE status = 'sending'")[0].n)
    other = beside(world)
    for _ in range(3):
        broadcast_id = other.broadcast([ADA])
        other.await_status(broadcast_id, "completed")
    assert sent(world) == 3
    door.set()


def test_a_broadcast_is_sent_beside_hundreds_of_another_clients(
    world: World, start: Start, stage: Stage
) -> None:
    for session_id in [world.session("probe") for _ in range(3)]:
        for _ in range(40):
            world.broadcast(numbers(10), session_id=session_id)
    other = beside(world)
    broadcast_id = other.broadcast(numbers(50))
    start(in_flight=32, claim_batch=100)
    other.await_status(broadcast_id, "completed")
    until(lambda: sent(world) == 1_250)
    places = [
        place
        for place, call in enumerate(stage.calls)
        if call.reference.startswith(broadcast_id[:18])
    ]
    assert max(places) - 50 < 600  # half of what the other client has
