"""The fan-out: turns frozen recipients into deliveries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from service.dispatch.upkeep.fanout import FanOut
from tests.conftest import on_postgres
from tests.world import World, numbers


class Called:
    """A count of calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def small(world: World) -> World:
    """Return a world in which a chunk has ten recipients."""
    small = world.with_settings(fanout_chunk=10)
    small.session()
    return small


def test_a_broadcast_becomes_deliveries_chunk_by_chunk(small: World) -> None:
    called = Called()
    fan_out = FanOut(small.settings, small.database, called)
    broadcast_id = small.broadcast(numbers(25))
    sizes = []
    while fan_out.turn() == 0.0:
        sizes.append(len(small.deliveries(broadcast_id)))
    assert sizes == [10, 20, 25]
    assert called.count == 3
    assert [row.recipient for row in small.deliveries(broadcast_id)] == numbers(25)


def test_broadcasts_take_turns(small: World) -> None:
    fan_out = FanOut(small.settings, small.database, Called())
    large, little = small.broadcast(numbers(50)), small.broadcast(numbers(5))
    for _ in range(2):
        fan_out.turn()
    assert len(small.deliveries(little)) == 5
    assert len(small.deliveries(large)) == 10


def test_clients_take_turns_however_many_broadcasts_and_sessions_they_have(small: World) -> None:
    fan_out = FanOut(small.settings, small.database, Called())
    for _ in range(5):
        session_id = small.session()
        for _ in range(5):
            small.broadcast(numbers(5), session_id=session_id)
    fan_out.turn()
    beside = small.neighbour()
    beside.session()
    little = [beside.broadcast(numbers(5)) for _ in range(2)]
    for _ in range(4):
        fan_out.turn()
    assert [len(small.deliveries(each)) for each in little] == [5, 5]


def test_sessions_of_a_client_take_turns(small: World) -> None:
    fan_out = FanOut(small.settings, small.database, Called())
    for _ in range(5):
        small.broadcast(numbers(5))
    little = small.broadcast(numbers(5), session_id=small.session())
    for _ in range(2):
        fan_out.turn()
    assert len(small.deliveries(little)) == 5


def test_what_an_older_version_stored_takes_its_turn(small: World) -> None:
    fan_out = FanOut(small.settings, small.database, Called())
    old = small.broadcast(numbers(20))
    small.tell("UPDATE recipient_chunks SET session_id = ''")
    new = small.broadcast(numbers(20))
    for _ in range(2):
        fan_out.turn()
    assert [len(small.deliveries(each)) for each in (old, new)] == [10, 10]


def test_another_process_goes_on_where_the_first_one_stopped(small: World) -> None:
    broadcast_id = small.broadcast(numbers(30))
    FanOut(small.settings, small.database, Called()).turn()
    second = FanOut(small.settings, small.database, Called())
    while second.turn() == 0.0:
        pass
    assert [row.recipient for row in small.deliveries(broadcast_id)] == numbers(30)


def test_a_stopping_process_begins_no_chunk(small: World) -> None:
    fan_out = FanOut(small.settings, small.database, Called())
    broadcast_id = small.broadcast(numbers(5))
    fan_out.draining = True
    assert fan_out.turn() == small.settings.poll_interval
    assert small.deliveries(broadcast_id) == []


def test_a_transaction_that_fails_leaves_its_chunk_for_the_next_turn(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan_out = FanOut(small.settings, small.database, Called())
    broadcast_id = small.broadcast(numbers(15))
    with monkeypatch.context() as patched:
        patched.setattr("service.core.deliveries.opted_out.suppress_new", _fail)
        with pytest.raises(ZeroDivisionError):
            fan_out.turn()
    assert small.deliveries(broadcast_id) == []
    while fan_out.turn() == 0.0:
        pass
    assert [row.recipient for row in small.deliveries(broadcast_id)] == numbers(15)


@on_postgres
def test_a_chunk_in_another_hand_is_waited_for_with_patience(small: World) -> None:
    called = Called()
    fan_out = FanOut(replace(small.settings, poll_interval=7.0), small.database, called)
    small.broadcast(numbers(5))
    with small.database.writing() as other:
        other.execute(text("SELECT 1 FROM recipient_chunks FOR UPDATE"))
        assert fan_out.turn() == 7.0
    assert called.count == 0
    assert fan_out.turn() == 0.0


def _fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError
