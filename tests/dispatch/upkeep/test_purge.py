"""A purge: everything old in the end, in steps that let others work."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from service.app import Application
from service.cli import retention
from service.core.storage import Storage
from service.database import now_ms
from service.dispatch.upkeep import purge
from service.dispatch.upkeep.purge import Purge, Purged
from tests.conftest import on_sqlite
from tests.core.test_retention import DAY, close
from tests.world import World, numbers


class Rests:
    """The rests of a purge; nothing may be held in them."""

    def __init__(self, world: World, last: int = 1_000_000) -> None:
        self.count = 0
        self._pool = world.database.engine.pool
        self._last = last

    def __call__(self, seconds: float) -> None:
        assert seconds > 0
        assert self._pool.checkedout() == 0  # type: ignore[attr-defined]
        self.count += 1
        if self.count == self._last:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "_ROWS", 3)
    monkeypatch.setattr(purge, "_BROADCASTS", 2)


@pytest.fixture
def history(world: World) -> World:
    """Return a world with three old broadcasts, one of them deleted, a young and an open one."""
    world.session()
    for people in (7, 4, 1):
        close(world, world.ready(numbers(people)), at=now_ms())
    world.tell("UPDATE broadcasts SET deleted_at = 1 WHERE total = 4")
    close(world, world.ready(numbers(2)), at=now_ms() + 2 * DAY)
    world.ready(numbers(3))
    return world


def purging(world: World, rest: Rests) -> Purge:
    """Return a purge of what is closed by tomorrow."""
    storage, before = Storage(world.settings), now_ms() + DAY
    store = world.settings.sandbox_store
    return Purge(world.database, storage, store, before=before, rest=rest)


def stored(world: World, name: str, *, age: float = 7200.0) -> Path:
    """Store a file of so many seconds' age that no attachment names."""
    path = world.settings.attachments_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_is_old_goes_and_all_else_stays_as_it_is(history: World) -> None:
    rests = Rests(history)
    assert purging(history, rests).run() == Purged(broadcasts=3, deliveries=12)
    left = history.ask("SELECT id, total FROM broadcasts ORDER BY total")
    assert [row.total for row in left] == [2, 3]
    history.assert_counters_equal_rows(row.id for row in left)
    assert history.ask("SELECT count(*) AS n FROM deliveries")[0].n == 5
    assert rests.count >= 12 / 3


def test_looking_tells_the_same_and_touches_nothing(history: World) -> None:
    file = stored(history, "ABCDEFGHIJKLMNO.png")
    looking = purging(history, Rests(history))
    assert looking.look() == Purged(broadcasts=3, deliveries=12, files=1)
    assert file.exists()
    assert history.ask("SELECT count(*) AS n FROM deliveries")[0].n == 17
    assert len(history.ask("SELECT id FROM broadcasts WHERE deleted_at IS NULL")) == 4
    assert looking.run() == Purged(broadcasts=3, deliveries=12, files=1)
    assert not file.exists()


def test_a_file_that_is_young_stays(history: World) -> None:
    file = stored(history, "ABCDEFGHIJKLMNO.png", age=60.0)
    assert purging(history, Rests(history)).run().files == 0
    assert file.exists()


@pytest.mark.parametrize("last", range(1, 8))
def test_a_purge_that_is_broken_off_is_ended_by_the_next(history: World, last: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        purging(history, Rests(history, last)).run()
    purging(history, Rests(history)).run()
    assert [row.total for row in history.ask("SELECT total FROM broadcasts ORDER BY 1")] == [2, 3]
    assert history.ask("SELECT count(*) AS n FROM deliveries")[0].n == 5


def test_receipts_of_nothing_go_when_they_are_old(history: World) -> None:
    session_id = history.ask("SELECT id FROM sessions")[0].id
    for number, received_at in enumerate((0, 1, 2, 3, now_ms() + 2 * DAY)):
        history.tell(
            "INSERT INTO waiting_receipts (id, session_id, message_id, state, opted_out,"
            " received_at, due_at) VALUES (:id, :session_id, 'm', 'sent', false, :at, :at)",
            id=f"{number:024x}",
            session_id=session_id,
            at=received_at,
        )
    assert purging(history, Rests(history)).look().receipts == 4
    assert purging(history, Rests(history)).run().receipts == 4
    assert history.ask("SELECT count(*) AS n FROM waiting_receipts")[0].n == 1


@pytest.fixture
def flask(app: Application) -> Iterator[FlaskCliRunner]:
    with app.app_context():
        yield app.test_cli_runner()


@pytest.mark.usefixtures("history")
def test_the_command_says_what_would_go_and_what_went(
    flask: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "now_ms", lambda: 91 * DAY + now_ms())
    what = r"3 broadcasts closed before [0-9-]+ [0-9:]+ UTC with 12 deliveries, 0 receipts and 0 f"
    command = ["purge", "--older-than", "90d"]
    assert re.search(f"Would delete {what}", flask.invoke(args=[*command, "--dry-run"]).output)
    assert re.search(f"Deleted {what}", flask.invoke(args=command).output)
    assert "Deleted 0 broadcasts" in flask.invoke(args=command).output


def test_a_database_without_tables_is_a_sentence(
    make_app: Callable[..., Application], tmp_path: Path
) -> None:
    app = make_app(database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    with app.app_context():
        answer = app.test_cli_runner().invoke(args=["purge", "--older-than", "1d"])
    assert answer.exit_code == 1
    assert answer.output.startswith("Error: The database schema does not match")


@on_sqlite
@pytest.mark.parametrize("age", ["", "90", "d", "0d", "-1d", "1.5d", "90 d", "90m", "1000000d"])
def test_an_age_that_is_none_is_refused(flask: FlaskCliRunner, age: str) -> None:
    answer = flask.invoke(args=["purge", f"--older-than={age}"])
    assert answer.exit_code == 2
    assert "is not a duration such as 12h, 90d or 8w." in answer.output


def test_without_an_age_nothing_is_purged(flask: FlaskCliRunner) -> None:
    answer = flask.invoke(args=["purge"])
    assert answer.exit_code == 2
    assert "--older-than" in answer.output
