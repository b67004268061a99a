"""What providers hold of our attachments."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.database import now_ms
from service.dispatch.sending import uploads as module
from service.dispatch.sending.uploads import StoredMediaIds
from service.models import Attachment
from tests.statements import noted
from tests.world import World

HOUR = 3_600.0


@pytest.fixture
def picture(world: World) -> str:
    """Return the id of an attachment that everybody shares."""
    return attach(world, "A")


def attach(world: World, letter: str) -> str:
    """Store an attachment and return its id."""
    file = {"name": letter * 15, "type": "jpeg", "mimetype": "image/jpeg", "filename": "a.jpeg"}
    with world.database.writing() as db:
        attachment = Attachment(**file, size=1)
        db.add(attachment)
        db.flush()
        return attachment.id


@pytest.fixture
def process(world: World) -> Callable[[], StoredMediaIds]:
    """Return what stands for the memory of another process that sends for the same session."""
    session_id = world.session()
    return lambda: StoredMediaIds(world.database, session_id)


def test_an_upload_is_known_to_every_process(
    process: Callable[[], StoredMediaIds], picture: str
) -> None:
    here, there = process(), process()
    assert here.get(picture) is None
    here.put(picture, "1001", lifetime=HOUR)
    assert (here.get(picture), there.get(picture)) == ("1001", "1001")


def test_what_is_known_is_not_asked_again(
    process: Callable[[], StoredMediaIds], picture: str, world: World
) -> None:
    here, there = process(), process()
    here.put(picture, "1001", lifetime=HOUR)
    there.get(picture)
    with noted(world.database) as statements:
        assert {each.get(picture) for each in [here, there] * 100} == {"1001"}
    assert statements == []


def test_an_id_is_used_until_its_end(
    process: Callable[[], StoredMediaIds], picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = process(), process()
    here.put(picture, "1001", lifetime=HOUR)
    there.get(picture)
    later = now_ms() + round(HOUR * 1000)
    monkeypatch.setattr(module, "now_ms", lambda: later - 1_000)
    assert (here.get(picture), there.get(picture)) == ("1001", "1001")
    monkeypatch.setattr(module, "now_ms", lambda: later)
    assert (here.get(picture), there.get(picture)) == (None, None)
    assert here.reserve(picture, seconds=HOUR)


def test_an_id_that_means_nothing_any_more_is_dropped_for_all(
    process: Callable[[], StoredMediaIds], picture: str
) -> None:
    here, there = process(), process()
    here.put(picture, "1001", lifetime=HOUR)
    there.forget(picture, "1001")
    assert there.get(picture) is None
    assert here.get(picture) == "1001"  # until the provider says so here too
    here.forget(picture, "1001")
    assert here.get(picture) is None


def test_another_process_has_uploaded_it_again_meanwhile(
    process: Callable[[], StoredMediaIds], picture: str
) -> None:
    here, there = process(), process()
    here.put(picture, "1001", lifetime=HOUR)
    there.put(picture, "1002", lifetime=HOUR)
    assert here.get(picture) == "1001"
    here.forget(picture, "1001")
    assert here.get(picture) == "1002"


def test_one_upload_at_a_time(process: Callable[[], StoredMediaIds], picture: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        memories = [process() for _ in range(8)]
        begun = list(pool.map(lambda each: each.reserve(picture, seconds=HOUR), memories))
    assert begun.count(True) == 1
    assert memories[0].get(picture) is None
    memories[begun.index(True)].put(picture, "1001", lifetime=HOUR)
    assert {each.get(picture) for each in memories} == {"1001"}
    assert not memories[0].reserve(picture, seconds=HOUR)


def test_an_upload_that_failed_may_be_tried_by_anybody(
    process: Callable[[], StoredMediaIds], picture: str
) -> None:
    here, there = process(), process()
    assert here.reserve(picture, seconds=HOUR)
    assert not there.reserve(picture, seconds=HOUR)
    here.forget(picture)
    assert there.reserve(picture, seconds=HOUR)


def test_an_upload_whose_process_died_is_given_up_in_time(
    process: Callable[[], StoredMediaIds], picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = process(), process()
    assert here.reserve(picture, seconds=60.0)
    assert not there.reserve(picture, seconds=60.0)
    later = now_ms() + 61_000
    monkeypatch.setattr(module, "now_ms", lambda: later)
    assert there.reserve(picture, seconds=60.0)


def test_forgetting_an_upload_that_failed_drops_no_id(
    process: Callable[[], StoredMediaIds], picture: str
) -> None:
    here, there = process(), process()
    there.put(picture, "1001", lifetime=HOUR)
    here.forget(picture)
    assert here.get(picture) == "1001"


def test_sessions_do_not_share_their_uploads(world: World, picture: str) -> None:
    one, other = (StoredMediaIds(world.database, world.session()) for _ in range(2))
    one.put(picture, "1001", lifetime=HOUR)
    assert other.get(picture) is None


def test_the_oldest_ids_leave_memory_and_are_asked_again(
    process: Callable[[], StoredMediaIds],
    picture: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_KEPT", 1)
    here = process()
    here.put(picture, "1001", lifetime=HOUR)
    here.put(attach(world, "B"), "1002", lifetime=HOUR)
    assert here.known(picture) is None
    assert here.get(picture) == here.known(picture) == "1001"
