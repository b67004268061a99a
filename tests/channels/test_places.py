"""Places that owners share."""

from __future__ import annotations

import pytest

from service.channels.places import Places, share


@pytest.mark.parametrize(
    ("places", "others", "expected"), [(8, 0, 4), (8, 4, 2), (8, 6, 1), (8, 8, 1), (8, 99, 1)]
)
def test_one_owner_may_have_half_of_what_the_others_leave(
    places: int, others: int, expected: int
) -> None:
    assert share(places, others) == expected


def taken(places: Places, owner: str) -> int:
    """Take all that an owner may have; return how many places that is."""
    count = 0
    while places.free(owner) > 0:
        places.take(owner)
        count += 1
    return count


def test_there_is_a_place_for_any_number_of_owners() -> None:
    places = Places(16)
    assert [taken(places, f"{number}") for number in range(8)] == [8, 4, 2, 1, 1, 1, 1, 1]


def test_a_place_that_is_given_back_is_free_again() -> None:
    places = Places(4)
    assert taken(places, "one") == 2
    places.give_back("one")
    assert (places.free("one"), len(places)) == (1, 1)
    places.give_back("one")
    assert (places.free("one"), len(places)) == (2, 0)


def test_who_has_the_fewest_goes_first() -> None:
    places = Places(16)
    for owner in ("one", "one", "two"):
        places.take(owner)
    assert places.next(["one", "two", "three"]) == "three"
    assert places.next(["one", "two"]) == "two"
    assert taken(places, "one") == 5
    assert places.next(["one"]) is None
    assert places.next([]) is None
