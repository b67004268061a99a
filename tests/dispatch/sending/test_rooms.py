"""How many messages clients may have under way: rules without a clock of their own."""

from __future__ import annotations

import pytest

from service.dispatch.sending.limits import PATIENCE, Client, Response
from service.dispatch.sending.rooms import Room

ONE, OTHER = "5" * 24, "6" * 24
NOW = 1_000.0
LATE = NOW + PATIENCE + 0.1


@pytest.fixture
def room() -> Room:
    return Room(256)


def spare(room: Room, client_id: str = "") -> int:
    """Return how many more messages of a client may begin in what is left of the room."""
    return room.spare(room.of(f"session of {client_id}", client_id=client_id).client)


def test_no_more_begins_than_there_is_room_for(room: Room) -> None:
    assert spare(room) == 256
    room.began(room.of(ONE), 200)
    room.began(room.of(OTHER), 50)
    assert (spare(room), room.under_way) == (6, 250)
    room.ended(ONE, Response.ANSWER, [NOW], NOW)
    assert (spare(room), room.under_way) == (7, 249)


def test_many_sessions_that_do_not_answer_get_half_of_the_room_together(room: Room) -> None:
    names = [f"{number:024x}" for number in range(64)]
    for name in names:
        room.began(room.of(name), 4)
    assert spare(room) == 0
    room.note_waits("sender", dict.fromkeys(names, [NOW] * 4), LATE)
    assert spare(room) == 256
    assert all(room.of(name).free(NOW) < 0 for name in names)
    assert room.of(OTHER).free(NOW) == 8


def test_what_is_late_does_not_count_against_others(room: Room) -> None:
    room.began(room.of(ONE), 256)
    assert spare(room) == 0
    room.note_waits("sender", {ONE: [NOW] * 256}, LATE)
    assert spare(room) == 256
    room.began(room.of(OTHER), 256)
    room.note_waits("sender", {ONE: [NOW] * 256, OTHER: [NOW] * 256}, LATE)
    assert spare(room) == 0  # never more than twice the room


def test_several_senders_count_together_and_each_speaks_for_itself(room: Room) -> None:
    room.began(room.of(ONE), 5)
    room.note_waits("one", {ONE: [NOW] * 2}, LATE)
    room.note_waits("other", {ONE: [NOW] * 3}, LATE)
    assert room.of(ONE).late == 5
    room.note_waits("one", {}, LATE)
    assert room.of(ONE).late == 3


# Clients beside each other


def client(room: Room, client_id: str) -> Client:
    return room.of(f"session of {client_id}", client_id=client_id).client


def begin(room: Room, client_id: str, messages: int) -> None:
    room.began(room.of(f"session of {client_id}", client_id=client_id), messages)


def free(room: Room, client_id: str) -> int:
    """Return how many more messages a client may begin."""
    mine = client(room, client_id)
    return max(room.missing(mine, room.busy([mine])), room.spare(mine))


def test_a_client_alone_uses_the_whole_room(room: Room) -> None:
    assert free(room, "one") == 256
    begin(room, "one", 256)
    assert free(room, "one") == 0


def test_a_full_room_has_an_even_share_for_whoever_comes(room: Room) -> None:
    begin(room, "one", 256)
    assert free(room, "two") == 128
    begin(room, "two", 128)
    assert (free(room, "one"), free(room, "two")) == (0, 0)
    assert free(room, "three") == 256 // 3


def test_what_one_client_leaves_is_anothers(room: Room) -> None:
    begin(room, "one", 10)
    begin(room, "two", 200)
    assert (free(room, "one"), free(room, "two")) == (118, 46)


def test_there_is_a_place_for_each_of_any_number_of_clients(room: Room) -> None:
    """However many messages the others have, and however late those are."""
    for number in range(40):
        mine = client(room, f"{number}")
        assert room.reserved(mine) >= 1
        assert free(room, f"{number}") >= 1
        begin(room, f"{number}", room.reserved(mine))
    assert room.under_way <= 4 * 256 + 40


def test_late_messages_do_not_count_but_have_an_end(room: Room) -> None:
    begin(room, "one", 256)
    room.note_waits("sender", {"session of one": [NOW] * 256}, LATE)
    assert free(room, "one") == 256
    begin(room, "one", 256)
    assert free(room, "one") == 0
    assert free(room, "two") == 128


def test_a_client_without_sessions_is_forgotten(room: Room) -> None:
    before = client(room, "one")
    room.forget("session of one")
    assert client(room, "one") is not before
