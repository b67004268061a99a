"""Talks with providers, which clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.channels.errors import RetryableError
from service.channels.steps import Conversation, Pause, result
from service.dispatch.upkeep.talks import Talks
from tests.world import World


@pytest.fixture
def talks(world: World) -> Iterator[Talks]:
    talks = Talks(world.accounts)
    yield talks
    talks.close()


def silence() -> Conversation[None]:
    yield Pause(3_600.0)


def failure() -> Conversation[None]:
    yield from ()
    raise RetryableError("Away.")


def test_a_turn_gives_what_has_ended_and_how(talks: Talks) -> None:
    talks.add("one", "a", result(None))
    talks.add("one", "b", failure())
    ended = {talk.token: talk.error for talk in talks.turn()}
    assert ended["a"] is None
    assert isinstance(ended["b"], RetryableError)
    assert len(talks) == 0
    assert talks.turn() == []


def test_silence_keeps_no_other_client_waiting(talks: Talks) -> None:
    for number in range(500):
        talks.add("silent", number, silence())
    talks.turn()
    for client in ("one", "two"):
        talks.add(client, client, result(None))
    assert [talk.token for talk in talks.turn()] == ["one", "two"]
    assert len(talks) == 500


def test_many_of_one_client_follow_each_other(talks: Talks) -> None:
    for number in range(500):
        talks.add("one", number, result(None))
    ended = []
    while len(talks):
        ended += [talk.token for talk in talks.turn()]
    assert ended == [*range(500)]
