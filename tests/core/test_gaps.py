"""Tests of what is told of a personal message before any of it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from service.channels.content import Content, Template
from service.core import gaps, recipients
from service.core.gaps import Plan
from service.core.personalisation import Personalisation, PersonalisedParts
from service.core.placeholders import Syntax
from service.core.recipient_lists import Recipients
from service.errors import InvalidError
from tests.core.test_personalisation import ADA, BEN, CHANNELS

CARL = "2348179803744"


def people(*variables: dict[str, Any] | None) -> Recipients:
    """Return as many recipients, each with these variables."""
    numbers = (ADA, BEN, CARL)
    return recipients.read(
        [
            {"to": number, "variables": values} if values else number
            for number, values in zip(numbers, variables, strict=False)
        ]
    )


def check(content: Content, read: Recipients, *, tidy: bool = False, **common: str) -> Any:
    """Return the lengths of a message, or what is wrong with it."""
    how = Personalisation(Syntax.BRACES, common, {}, tidy=tidy)
    plan: Plan = lambda each: PersonalisedParts(CHANNELS["whatsapp_cloud"], content, each)  # noqa: E731
    try:
        parsed = how.parse_all(content)
        return gaps.check(content, parsed, read, how, plan).lengths["message.text"]
    except InvalidError as error:
        return error.errors


def template(text: str) -> Content:
    parameter = {"type": "text", "text": text}
    component = {"type": "body", "parameters": [parameter]}
    return Content(template=Template("sale", "en", (component,)))


def test_every_recipient_without_a_value_is_named_by_position() -> None:
    content = Content(text="{{name}} {{city}} {{title|}}")
    read = people({"name": "Ada", "city": "Lagos"}, {"name": "Ben"}, {"title": "Dr"})
    city, name = (
        f"give one, or write {{{{{each}|there}}}} for a text that stands where there is none."
        for each in ("city", "name")
    )
    assert check(content, read) == {
        "to.1": [f"{BEN!r} has no value for 'city': {city}"],
        "to.2": [f"{CARL!r} has no value for 'name' and 'city': {name}"],
    }
    assert check(content, read, name="friend", city="town") == len("friend Lagos Dr")


def test_a_name_that_nobody_has_is_told_once() -> None:
    read = recipients.read(
        [{"to": ADA, "variables": {"name": "Ada", "city": "x"}}, BEN], names=frozenset({"nmae"})
    )
    advice = "give one, or write {{nmae|there}} for a text that stands where there is none."
    reason = "No recipient has a value for 'nmae', and the variables are city, name"
    assert check(Content(text="Hi {{nmae}}"), read) == {"message.text": [f"{reason}: {advice}"]}
    reason = "No recipient has a value for 'nmae', and there are no variables"
    told = check(Content(text="Hi {{nmae}}"), people(None))
    assert told == {"message.text": [f"{reason}: {advice}"]}


def test_of_many_recipients_the_first_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "MOST_TOLD", 2)
    read = people({"name": "Ada"}, {"x": "y"}, {"x": "y"})
    told = check(Content(text="Hi {{name}} {{x}}"), read)
    assert list(told) == ["to.0", "to.1", "to"]
    assert told["to"] == ["There may be more: these are the first of them."]


def test_the_length_counts_as_the_longest_recipient_gets_it() -> None:
    text = f"{{{{a|}}}}{{{{b|}}}}{'x' * 4_090}"
    fits = people({"a": "12345", "b": "1"}, {"a": "1", "b": "12345"}, None)
    assert check(Content(text=text), fits) == 4_096
    told = check(Content(text=text), people({"a": "123456"}, {"a": "1234567"}, {"b": "123😀😀"}))
    counts = "WhatsApp accepts at most 4,096 characters and counts 4,097 here"
    assert told == {
        "to.1": [f"{BEN!r} gets a text that is too long. {counts}."],
        "to.2": [f"{CARL!r} gets a text that is too long. {counts}."],
    }


@pytest.mark.parametrize("value", ["a\nb", "a\tb", "a     b", "a\u2028b", "a\x85b"])
def test_a_value_that_breaks_a_template_is_told_unless_it_is_tidied(value: str) -> None:
    read = people({"name": "Ada"}, {"name": value})
    told = check(template("Hi {{name}}"), read)
    assert list(told) == ["to.1"]
    assert "Has a line break, a tab or more than four spaces" in told["to.1"][0]
    assert check(template("Hi {{name}}"), read, tidy=True) == 0
    assert check(Content(text="Hi {{name}}"), read) == 3 + len(value)
    assert list(check(template("{{x|y}} {{name|}}"), people(None), x=value)) == ["to.0"]


def test_a_text_of_which_nothing_is_left_is_told() -> None:
    read = people({"name": "Ada"}, None)
    reason = "Is empty: write a text beside the placeholders."
    told = check(Content(text=" {{name|}}"), read)
    assert told == {"to.1": [f"{BEN!r} leaves message.text unfit: {reason}"]}
    assert "Is empty, which Meta refuses (100)" in check(template("{{name|}}"), read)["to.1"][0]
    assert check(Content(text="{{name|}}"), people({"name": "Ada"}, {"name": "Ben"})) == 3
