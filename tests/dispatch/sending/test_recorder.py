"""Results on their way into the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session as Db

from service.core.decisions import Decision, Hold
from service.core.deliveries.claims import Claimed
from service.core.deliveries.transitions import Outcome
from service.database import OUT_OF_REACH, Database, now_ms
from service.dispatch.sending import retry
from service.dispatch.sending.recorder import Recorder
from service.models import DeliveryStatus
from tests.conftest import on_postgres
from tests.waiting import LIMIT, until
from tests.world import World, numbers


@pytest.fixture
def recorder(world: World) -> Iterator[Recorder]:
    """Return a recorder that is not started yet and ends with the test."""
    world.session()
    recorder = Recorder(world.settings, world.database)
    yield recorder
    recorder.drain(time.monotonic() + 60)


def sent(claimed: Claimed) -> Decision:
    return retry.sent(claimed, [f"id-{claimed.recipient}"], now=now_ms())


def refused(claimed: Claimed, reason: str, message_ids: str | None = None) -> Decision:
    """Return a result that no driver's error could make: it comes past all cleaning."""
    at = now_ms()
    failed = DeliveryStatus.FAILED
    return Decision(Outcome(claimed.id, failed, 1, at, at, message_ids, reason=reason))


def test_a_result_is_written_with_its_counter(world: World, recorder: Recorder) -> None:
    broadcast_id = world.ready(numbers(2))
    claims = world.claim(broadcast_id, 1)
    recorder.loop.start()
    recorder.put([(claims.id, sent(claims.deliveries[0]))])
    until(lambda: world.get(broadcast_id).sent == 1)
    row = world.deliveries(broadcast_id)[0]
    assert (row.status, row.attempts, row.claim_id) == ("sent", 1, None)
    assert row.message_ids == f"id-{row.recipient}"
    assert row.sent_at is not None
    until(recorder.is_empty)


def test_the_last_result_completes_the_broadcast(world: World, recorder: Recorder) -> None:
    broadcast_id = world.ready(numbers(3))
    claims = world.claim(broadcast_id)
    recorder.loop.start()
    for claimed in claims.deliveries:
        recorder.put([(claims.id, sent(claimed))])
    world.await_status(broadcast_id, "completed")
    assert world.get(broadcast_id).closed_at is not None
    world.assert_counters_equal_rows([broadcast_id])


def test_a_thread_that_waits_for_results_ends_at_once(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.sending.recorder._IDLE", 10 * LIMIT)
    recorder.loop.start()
    assert recorder.drain(time.monotonic() + LIMIT)
    assert recorder.loop.join(0.0)


def test_many_results_make_few_transactions(world: World, recorder: Recorder) -> None:
    broadcast_id = world.ready(numbers(600))
    claims = world.claim(broadcast_id)
    commits: list[object] = []
    event.listen(world.database.engine, "commit", commits.append)
    for claimed in claims.deliveries:
        recorder.put([(claims.id, sent(claimed))])
    assert recorder.drain(time.monotonic() + 60)
    assert world.get(broadcast_id).status == "completed"
    assert len(commits) == 1


def test_results_of_a_claim_that_was_taken_over_are_refused(
    world: World, recorder: Recorder
) -> None:
    broadcast_id = world.ready(numbers(2))
    frozen = world.claim(broadcast_id)
    world.tell("UPDATE deliveries SET status = 'queued', claim_id = NULL")
    other = world.claim(broadcast_id)
    recorder.put([(frozen.id, refused(frozen.deliveries[0], "Too late."))])
    recorder.put([(other.id, sent(other.deliveries[1]))])
    assert recorder.drain(time.monotonic() + 60)
    assert [row.status for row in world.deliveries(broadcast_id)] == ["sending", "sent"]
    world.assert_counters_equal_rows([broadcast_id])


def test_a_result_written_twice_counts_once(world: World, recorder: Recorder) -> None:
    broadcast_id = world.ready(numbers(2))
    claims = world.claim(broadcast_id)
    for _ in range(2):
        recorder.put([(claims.id, sent(claims.deliveries[0]))])
        assert recorder.drain(time.monotonic() + 60)
    assert world.get(broadcast_id).sent == 1


@pytest.fixture
def refusals() -> list[object]:
    """Return what the impatient recorder's database has refused."""
    return []


@pytest.fixture
def impatient(
    world: World, refusals: list[object], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recorder]:
    """Return a recorder that waits for nobody's lock, with a database of its own."""
    world.session()
    database = Database(replace(world.settings, database_timeout=0.05))
    writing = database.writing

    @contextmanager
    def noting() -> Iterator[Db]:
        try:
            with writing() as db:
                yield db
        except OUT_OF_REACH as error:
            refusals.append(error)
            raise

    monkeypatch.setattr(database, "writing", noting)
    recorder = Recorder(world.settings, database)
    yield recorder
    recorder.drain(time.monotonic() + 60)
    database.dispose()


def test_results_are_kept_while_the_database_refuses_them(
    world: World, impatient: Recorder, refusals: list[object]
) -> None:
    broadcast_id = world.ready(numbers(3))
    claims = world.claim(broadcast_id)
    impatient.loop.start()
    with world.database.writing() as db:
        db.execute(text("UPDATE broadcasts SET reason = 'in the way'"))
        for claimed in claims.deliveries:
            impatient.put([(claims.id, sent(claimed))])
        until(lambda: len(refusals) >= 2)
        assert not impatient.is_empty()
    world.await_status(broadcast_id, "completed")
    world.assert_counters_equal_rows([broadcast_id])


def test_a_stopping_recorder_does_not_give_up_while_it_has_time(
    world: World, impatient: Recorder
) -> None:
    broadcast_id = world.ready(numbers(1))
    claims = world.claim(broadcast_id)
    impatient.put([(claims.id, sent(claims.deliveries[0]))])
    with world.database.writing() as db:
        db.execute(text("UPDATE broadcasts SET reason = 'in the way'"))
        assert not impatient.drain(time.monotonic() + 0.3)
    assert impatient.drain(time.monotonic() + 60)
    assert world.get(broadcast_id).status == "completed"


@on_postgres
@pytest.mark.parametrize("bad", ["nul\0", "half a pair \ud800"])
def test_a_result_that_cannot_be_stored_does_not_keep_the_others_from_it(
    world: World, recorder: Recorder, bad: str
) -> None:
    broadcast_id = world.ready(numbers(10))
    claims = world.claim(broadcast_id)
    good, (odd, *_) = claims.deliveries[1:], claims.deliveries
    recorder.put([(claims.id, refused(odd, bad, "one two"))])
    for claimed in good:
        recorder.put([(claims.id, sent(claimed))])
    assert recorder.drain(time.monotonic() + 60)
    rows = world.deliveries(broadcast_id)
    assert [row.status for row in rows] == ["failed"] + ["sent"] * 9
    assert rows[0].message_ids == "- -"
    assert world.get(broadcast_id).status == "completed"
    world.assert_counters_equal_rows([broadcast_id])


def test_a_hold_on_a_session_is_written(world: World, recorder: Recorder) -> None:
    session_id = world.session()
    broadcast_id = world.ready(numbers(1), session_id=session_id)
    claims = world.claim(broadcast_id)
    outcome = retry.untried(claims.deliveries[0], now=now_ms())
    recorder.put([(claims.id, Decision(outcome, Hold("Logged out.", session_id=session_id)))])
    assert recorder.drain(time.monotonic() + 60)
    session = world.get_session(session_id)
    assert (session.status, session.reason) == ("blocked", "Logged out.")


def test_a_hold_on_a_broadcast_is_written(world: World, recorder: Recorder) -> None:
    broadcast_id = world.ready(numbers(2))
    claims = world.claim(broadcast_id, 1)
    decision = refused(claims.deliveries[0], "Bad template.")
    hold = Hold("Bad template.", broadcast_id=broadcast_id)
    recorder.put([(claims.id, Decision(decision.outcome, hold))])
    assert recorder.drain(time.monotonic() + 60)
    broadcast = world.get(broadcast_id)
    assert (broadcast.status, broadcast.reason) == ("paused", "Bad template.")


def test_what_is_recorded_is_told_once_it_is_committed(world: World, recorder: Recorder) -> None:
    broadcast_id = world.ready(numbers(3))
    claims = world.claim(broadcast_id)
    told: list[Decision] = []

    def note(recorded: list[Decision]) -> None:
        told.extend(recorded)
        assert world.statuses(broadcast_id) == {"sent": 3}

    recorder.on_recorded = note
    recorder.put((claims.id, sent(each)) for each in claims.deliveries)
    assert recorder.drain(time.monotonic() + 60)
    assert [each.outcome.id for each in told] == [each.id for each in claims.deliveries]


def test_what_the_database_refuses_for_now_is_not_told_as_recorded(
    world: World, impatient: Recorder, refusals: list[object]
) -> None:
    broadcast_id = world.ready(numbers(1))
    claims = world.claim(broadcast_id)
    told: list[Decision] = []
    impatient.on_recorded = told.extend
    with world.database.writing() as db:
        db.execute(text("UPDATE broadcasts SET reason = 'in the way'"))
        impatient.put([(claims.id, sent(claims.deliveries[0]))])
        impatient.loop.start()
        until(lambda: refusals)
        assert told == []
    assert impatient.drain(time.monotonic() + 60)
    assert [each.outcome.id for each in told] == [claims.deliveries[0].id]


def test_there_is_no_room_while_too_many_results_are_unwritten(world: World) -> None:
    world.session()
    recorder = Recorder(replace(world.settings, flush_batch=2), world.database)
    broadcast_id = world.ready(numbers(4))
    claims = world.claim(broadcast_id)
    recorder.put((claims.id, sent(each)) for each in claims.deliveries[:3])
    assert recorder.has_room()
    recorder.put((claims.id, sent(each)) for each in claims.deliveries[3:])
    assert not recorder.has_room()
    assert recorder.drain(time.monotonic() + 60)
    assert recorder.has_room()
