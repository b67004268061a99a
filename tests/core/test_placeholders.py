"""Tests of texts with gaps."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import placeholders
from service.core.placeholders import MalformedTextError, Syntax, parse, render

ADA = "2348179803743"
BRACES, GUIDE = Syntax.BRACES, Syntax.GUIDE
tricky = st.text("{}[]|%\\$ab\n😀 ", max_size=30)


@pytest.mark.parametrize(
    ("syntax", "text", "expected"),
    [
        (BRACES, "Hi {{name}}, {{ name }}!", "Hi Ada, Ada!"),
        (BRACES, "{{title|Dear }}{{nick|}}{{name|you}}", "Dear Ada"),
        (BRACES, "{a} [name] {Hi|Hello} %s {0} ${x} }}", "{a} [name] {Hi|Hello} %s {0} ${x} }}"),
        (BRACES, "{{First name|x}} {{name.__class__|y}}", "x y"),
        (GUIDE, "Hi [name] | [ title | Dr ] {{name}|{x|[name]}}", None),
        (GUIDE, "Hi [name] | [ title |there]", "Hi Ada | there"),
        (GUIDE, "{same|same} {[name]|{[name]|Ada}}", "same Ada"),
        (GUIDE, "[ ] or []", None),
        (BRACES, "Hi {{name}", None),
        (BRACES, "Hi {{{name}}}", "Hi {Ada}"),
        (BRACES, "{{ }}", None),
        (BRACES, "{{a\nb}}", None),
        (GUIDE, "{Hi", None),
        (GUIDE, "Hi}", None),
        (GUIDE, "{{name}}", None),
        (GUIDE, "{a|" * 9 + "}" * 9, None),
    ],
)
def test_placeholders_are_filled_or_told_from_what_only_looks_like_one(
    syntax: Syntax, text: str, expected: str | None
) -> None:
    if expected is None:
        with pytest.raises(MalformedTextError):
            parse(text, syntax)
    else:
        assert render(parse(text, syntax), {"name": "Ada"}, ADA) == expected


def test_a_malformed_text_is_told_where_it_goes_wrong_and_what_to_write() -> None:
    with pytest.raises(MalformedTextError) as caught:
        parse("Hi {{name, how are you?", BRACES)
    assert str(caught.value) == (
        "Has '{{name, how are you?' at character 4, which is no placeholder: write {{name}}, or"
        " {{name|text}} for a text that stands where there is no value."
    )


@given(st.sampled_from(Syntax), st.dictionaries(st.sampled_from("ab"), tricky), tricky)
def test_a_value_adds_no_placeholder_and_runs_nothing(
    syntax: Syntax, values: dict[str, str], common: str
) -> None:
    text = {BRACES: "<{{a|}}|{{b}}>", GUIDE: "<[a|]|[b]>"}[syntax]
    parsed = placeholders.with_fallback(parse(text, syntax), {"b": common})
    expected = f"<{values.get('a', '')}|{values.get('b') or common}>"
    assert render(parsed, values, ADA) == expected


@given(tricky, st.sampled_from(Syntax), st.dictionaries(st.sampled_from("ab"), tricky))
def test_any_text_is_read_or_refused_and_none_is_longer_than_its_bound(
    text: str, syntax: Syntax, given: dict[str, str]
) -> None:
    try:
        parsed = parse(text, syntax)
    except MalformedTextError:
        return
    rendered = render(parsed, given, ADA)
    assert len(rendered) <= placeholders.bound(parsed, given, len)


def test_a_recipient_always_gets_the_same_of_several_texts_and_all_are_used() -> None:
    text = parse("{Hi|Hello|Good day}", GUIDE)
    people = [str(2348000000000 + number) for number in range(300)]
    first, second = ([render(text, {}, each) for each in people] for _ in range(2))
    assert first == second
    assert min(Counter(first).values()) > 60
