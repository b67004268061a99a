"""Lists that have lost their zeros, and lists that are as they say."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from service.core import lost_zeros, numbering, numbers

Draw = Callable[[random.Random], str]


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice("0123456789") for _ in range(count))


NATIONAL: dict[str, Draw] = {
    "DE": lambda chance: chance.choice(["151", "157", "160", "170", "176"]) + digits(chance, 8),
    "BR": lambda chance: (
        chance.choice(["11", "31", "41", "51", "66", "84"]) + "9" + digits(chance, 8)
    ),
    "US": lambda chance: str(chance.randint(201, 989)) + "5" + digits(chance, 6),
    "NG": lambda chance: "803" + digits(chance, 7),
    "PE": lambda chance: "9" + digits(chance, 8),
}


def drawn(region: str, count: int) -> list[str]:
    chance = random.Random(region)  # noqa: S311 - no secret
    found: list[str] = []
    while len(found) < count:
        number = NATIONAL[region](chance)
        if numbering.as_mobile(region, number):
            found.append(number)
    return found


@pytest.mark.parametrize("region", ["DE", "BR", "US"])
def test_national_numbers_that_are_somebody_elses_abroad_are_suspect(region: str) -> None:
    everybody = drawn(region, 600)
    assert region in lost_zeros.suspect(everybody)
    abroad = [number for number in everybody if numbers.normalise(number)]
    if region != "US":
        assert region in lost_zeros.suspect(abroad)
        assert region in lost_zeros.suspect(abroad[:12])


@pytest.mark.parametrize("region", NATIONAL)
def test_international_numbers_are_as_they_say(region: str) -> None:
    code, _ = numbers.plan_of_region(region)
    people = [f"{code}{number}" for number in drawn(region, 300)]
    assert lost_zeros.suspect(people) == []
    assert lost_zeros.suspect(f"+{number}" for number in people) == []


def test_a_list_of_several_countries_and_a_short_one_are_as_they_say() -> None:
    people = [
        f"{numbers.plan_of_region(region)[0]}{number}"
        for region in NATIONAL
        for number in drawn(region, 20)
    ]
    assert lost_zeros.suspect(people) == []
    assert lost_zeros.suspect(drawn("DE", 2)) == []
    assert lost_zeros.suspect([]) == []


def test_a_long_list_without_numbers_is_not_looked_at_to_its_end() -> None:
    looked_at = 0

    def written() -> Iterator[str]:
        nonlocal looked_at
        for looked_at in range(1, 100_000):
            yield f"no number {looked_at}"

    assert lost_zeros.suspect(written()) == []
    assert looked_at <= 5_000
