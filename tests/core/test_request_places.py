"""The places of a process for requests, and how clients share them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.core.request_places import RequestPlaces
from tests.waiting import until


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(f"{RequestPlaces.__module__}.time.monotonic", clock)
    return clock


@pytest.fixture
def places(clock: Clock) -> RequestPlaces:
    del clock
    places = RequestPlaces()
    places.limit_to(8)
    return places


def entered(places: RequestPlaces, client: str) -> int:
    """Let a client have all that it may have, and one more at most than there is."""
    return sum(places.enter(client) for _ in range(9))


def test_a_client_alone_is_not_limited(places: RequestPlaces) -> None:
    assert entered(places, "ada") == 9


def test_beside_others_a_client_leaves_a_quarter_of_the_places(places: RequestPlaces) -> None:
    assert places.enter("ada")
    places.leave("ada")
    assert entered(places, "ben") == 6
    assert entered(places, "cyd") == 1
    assert entered(places, "ada") == 1


def test_where_a_quarter_is_taken_a_client_has_half_of_what_others_leave(
    places: RequestPlaces,
) -> None:
    assert [places.enter(f"client {number}") for number in range(6)] == [True] * 6
    assert entered(places, "ada") == 1


def test_what_is_given_back_can_be_taken_again(places: RequestPlaces) -> None:
    assert places.enter("ada")
    assert entered(places, "ben") == 5
    places.leave("ben")
    assert (places.enter("ben"), places.enter("ben")) == (True, False)


def test_a_client_that_asks_for_nothing_more_is_forgotten_after_a_minute(
    places: RequestPlaces, clock: Clock
) -> None:
    assert places.enter("ada")
    places.leave("ada")
    clock.now += 60
    assert entered(places, "ben") == 6
    clock.now += 1
    assert entered(places, "ben") == 9


def test_one_thread_serves_everybody_in_turn() -> None:
    places = RequestPlaces()
    places.limit_to(1)
    for client in ("ada", "ben", "ada"):
        assert places.enter(client)
        places.leave(client)


def test_a_server_that_names_no_threads_sets_no_limit() -> None:
    places = RequestPlaces()
    assert places.enter("ada")
    assert entered(places, "ben") == 9


def test_those_who_are_no_clients_always_leave_a_quarter_of_the_places(
    places: RequestPlaces,
) -> None:
    assert sum(places.enter_unknown("stranger") for _ in range(9)) == 6
    assert sum(places.enter_unknown("webhook") for _ in range(9)) == 1
    assert places.enter("ada")
    for each in ("ada", "webhook", "stranger"):
        places.leave(each)
    assert [places.enter_unknown("stranger") for _ in range(2)] == [True, False]


def test_a_stranger_waits_a_moment_for_a_place_that_is_being_given_back(
    places: RequestPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{RequestPlaces.__module__}._MOMENT", 60.0)
    assert sum(places.enter_unknown("stranger") for _ in range(6)) == 6
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(places.enter_unknown, "stranger")
        until(lambda: places.are_awaited)
        assert not places.enter_unknown("stranger")
        places.leave("stranger")
        assert waiting.result()


@pytest.mark.parametrize("threads", [1, 3])
def test_where_a_quarter_of_the_threads_is_nothing_nobody_is_refused(threads: int) -> None:
    places = RequestPlaces()
    places.limit_to(threads)
    assert all(places.enter_unknown("stranger") for _ in range(9))
    assert all(places.enter(client) for client in ("ada", "ben") for _ in range(9))


def test_those_who_are_no_clients_do_not_limit_the_only_client(places: RequestPlaces) -> None:
    assert places.enter_unknown("webhook")
    assert entered(places, "ada") == 9


def test_a_client_whose_last_request_is_just_ending_is_not_refused(
    places: RequestPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{RequestPlaces.__module__}._MOMENT", 60.0)
    assert sum(places.enter_unknown("stranger") for _ in range(6)) == 6
    assert places.enter("ben")
    assert places.enter("ada")
    entered: list[bool] = []
    thread = threading.Thread(target=lambda: entered.append(places.enter("ada")))
    thread.start()
    places.leave("ada")
    thread.join()
    assert entered == [True]
