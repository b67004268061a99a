"""The processes that send, and how each knows that another is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.core import dispatchers
from service.core.dispatchers import LostClaimError
from service.database import now_ms
from tests.conftest import on_postgres
from tests.world import World


def beats(world: World) -> dict[str, int]:
    with world.database.reading() as db:
        return dispatchers.beats(db)


def departed(world: World) -> list[str]:
    with world.database.reading() as db:
        return dispatchers.departed(db)


def remove(world: World, *dispatcher_ids: str) -> None:
    with world.database.writing() as db:
        dispatchers.remove(db, list(dispatcher_ids))


def test_a_process_enters_with_its_place_and_number(world: World) -> None:
    dispatcher_id = world.enter()
    (row,) = world.ask("SELECT id, home, pid, beats FROM dispatchers")
    assert tuple(row) == (dispatcher_id, dispatchers.host(), os.getpid(), 0)


def test_every_entry_has_an_id_of_its_own(world: World) -> None:
    assert len({world.enter() for _ in range(5)}) == 5


def test_every_beat_is_counted_on_ones_own_row(world: World) -> None:
    beating, silent = world.enter(), world.enter()
    for _ in range(3):
        with world.database.writing() as db:
            dispatchers.beat(db, beating, now=now_ms())
    assert beats(world) == {beating: 3, silent: 0}


def test_one_that_was_given_up_learns_of_it_at_its_next_beat_or_claim(world: World) -> None:
    lost, other = world.enter(), world.enter()
    remove(world, lost)
    with world.database.writing() as db:
        with pytest.raises(LostClaimError):
            dispatchers.beat(db, lost, now=now_ms())
        with pytest.raises(LostClaimError):
            dispatchers.hold(db, lost)
    assert beats(world).keys() == {other}


@on_postgres
def test_one_that_is_claiming_can_beat_but_not_be_given_up(world: World) -> None:
    dispatcher_id = world.enter()
    removed = threading.Event()

    def give_up() -> None:
        remove(world, dispatcher_id)
        removed.set()

    watcher = threading.Thread(target=give_up)
    with world.database.writing() as db:
        dispatchers.hold(db, dispatcher_id)
        with world.database.writing() as other:
            dispatchers.beat(other, dispatcher_id, now=now_ms())
        watcher.start()
        assert not removed.wait(0.1)
    watcher.join()
    assert beats(world) == {}


def test_a_process_that_is_gone_has_departed_and_one_that_is_here_has_not(world: World) -> None:
    here, gone = world.enter(), world.enter()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    world.tell("UPDATE dispatchers SET pid = :pid WHERE id = :id", pid=dead.pid, id=gone)
    assert departed(world) == [gone]
    assert here not in departed(world)


def test_a_process_of_somebody_else_is_here_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.enter()

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert departed(world) == []


def test_numbers_say_nothing_in_another_place(world: World) -> None:
    world.enter()
    world.tell("UPDATE dispatchers SET pid = 4194304, home = 'another boot'")
    assert departed(world) == []


def test_where_the_system_does_not_name_the_place_only_the_heart_is_listened_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatchers, "_BOOT_ID", Path("/nowhere"))
    assert dispatchers.host() == ""
    world.enter()
    (row,) = world.ask("SELECT home FROM dispatchers")
    assert row.home == socket.gethostname()
    world.tell("UPDATE dispatchers SET pid = 4194304, home = ''")
    assert departed(world) == []


def test_to_remove_nobody_removes_nobody(world: World) -> None:
    dispatcher_id = world.enter()
    remove(world)
    assert beats(world).keys() == {dispatcher_id}
