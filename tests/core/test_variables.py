"""Tests of the variables of recipients."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import variables
from service.core.variables import UnusableVariablesError, Variables
from service.documents import WrittenNumber

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(st.dictionaries(texts, texts, max_size=5))
def test_variables_are_stored_in_one_line_and_come_back(given: dict[str, str]) -> None:
    stored = variables.dump(given)
    assert "\n" not in stored
    assert variables.load(stored) == given
    assert variables.load(None) == {}


def test_values_are_texts_without_blanks_around_them_and_a_blank_one_is_none() -> None:
    given = {"name": " Ada\n", "age": 36, "sum": WrittenNumber("1.50"), "title": " ", "city": None}
    assert variables.settle(given) == {"name": "Ada", "age": "36", "sum": "1.50"}
    assert variables.settle(given, frozenset({"age", "pet"})) == {"age": "36"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"a": True}, "has the variable 'a', which is no text and no number"),
        ({"a": ["x"]}, "has the variable 'a', which is no text and no number"),
        ({"a": "x" * 4_097}, "has the variable 'a', which is longer than 4,096 characters"),
        ({"a": "x\0y"}, "has the variable 'a', in which there is a NUL character"),
        ({"a" * 101: "x"}, "has a variable whose name is longer than 100 characters"),
        (dict.fromkeys(map(str, range(51)), "x"), "has 51 variables: at most 50 are taken"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(given: Any, reason: str) -> None:
    with pytest.raises(UnusableVariablesError) as caught:
        variables.settle(given)
    assert str(caught.value) == reason


def test_all_recipients_together_tell_how_many_have_what_and_the_longest_of_it() -> None:
    brought = Variables()
    for values in ({"name": "Zoë"}, {}, {"name": "Benedict", "city": "Kano"}):
        brought.add(values)
    assert (brought.counts, brought.size) == ({"name": 2, "city": 1}, 15 + 0 + 33)
    assert brought.longest == {"name": "Benedict", "city": "Kano"}
    assert [brought.of(place) for place in (1, 2)] == [{}, {"name": "Benedict", "city": "Kano"}]
    assert brought.chosen([0, 0]).counts == {"name": 2}
