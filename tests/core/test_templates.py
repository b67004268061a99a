"""What may fill the gaps of a template."""

from __future__ import annotations

from typing import Any

import pytest

from service.core import templates
from service.errors import InvalidError


def with_text(text: Any, **more: Any) -> dict[str, Any]:
    parameters = [{"type": "text", "text": "Ada"}, {"type": "text", "text": text}]
    components = [{"type": "header"}, {"type": "body", "parameters": parameters}]
    return {"name": "hello", "language": "en", "components": components, **more}


@pytest.mark.parametrize("text", ["Ada", "a  b", "a    b", " a ", "Grüße 🎂", "a\u00a0b"])
def test_what_meta_takes_is_left_as_it_is(text: str) -> None:
    assert templates.settle(with_text(text)) == with_text(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb", "Has a line break, a tab or more than four spaces in a row"),
        ("a\r\nb", "Has a line break"),
        ("a\tb", "Has a line break, a tab"),
        ("a     b", "more than four spaces in a row"),
        ("", "Is empty, which Meta refuses (100). Give it a value."),
        ("  ", "Is empty"),
        (None, "Is empty"),
        (5, "Is empty"),
    ],
)
def test_what_meta_refuses_is_named_with_its_parameter(text: Any, reason: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        templates.settle(with_text(text))
    [[found]] = refusal.value.errors.values()
    assert list(refusal.value.errors) == ["message.template.components.1.parameters.1.text"]
    assert reason in found


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\t b", "a     b", " a b\n"])
def test_a_tidy_template_has_one_blank_for_all_in_a_row(text: str) -> None:
    assert templates.settle(with_text(text, tidy=True)) == with_text("a b")


def test_tidying_makes_no_text_of_an_empty_one_and_changes_nothing_that_was_given() -> None:
    given = with_text(" \n ", tidy=True)
    with pytest.raises(InvalidError):
        templates.settle(given)
    assert given == with_text(" \n ", tidy=True)


def test_cards_are_looked_into_and_what_is_no_text_is_left_alone() -> None:
    button = {"type": "button", "parameters": [{"type": "payload", "payload": "a\nb"}]}
    body = {"type": "body", "parameters": [{"type": "text", "text": "a\nb"}, {"type": "image"}]}
    cards = {"type": "carousel", "cards": [{"components": [button, body]}]}
    with pytest.raises(InvalidError) as refusal:
        templates.settle({"name": "x", "language": "en", "components": [cards]})
    place = "message.template.components.0.cards.0.components.1.parameters.0.text"
    assert list(refusal.value.errors) == [place]


def test_a_template_without_gaps_has_nothing_to_check() -> None:
    assert templates.settle({"name": "x", "language": "en"}) == {"name": "x", "language": "en"}
