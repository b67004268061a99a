"""The places of a process for requests, and how clients share them."""

from __future__ import annotations

import threading

import pytest

from service.core.request_places import RequestPlaces


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


@pytest.mark.parametrize("threads", [1, 3])
def test_where_a_quarter_of_the_threads_is_nothing_nobody_is_refused(threads: int) -> None:
    places = RequestPlaces()
    places.limit_to(threads)
    assert all(places.enter(client) for client in ("ada", "ben") for _ in range(9))


def test_a_client_whose_last_request_is_just_ending_is_not_refused(
    places: RequestPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{RequestPlaces.__module__}._MOMENT", 60.0)
    for client in ("ada", "ben", "joan", "grace", "ida", "mary", "rosa", "zoe"):
        assert places.enter(client)
    entered: list[bool] = []
    thread = threading.Thread(target=lambda: entered.append(places.enter("ada")))
    thread.start()
    places.leave("ada")
    thread.join()
    assert entered == [True]
