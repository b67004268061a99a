"""Gaps: checks before sending that the message can be filled for each recipient."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from service.channels.captions import units
from service.channels.content import Content, UnsupportedContentError
from service.core import placeholders, templates
from service.core.personalisation import Personalisation, texts
from service.core.placeholders import Syntax, Text
from service.core.recipient_lists import Recipients
from service.errors import InvalidError

MOST_TOLD: Final = 1_000
"""The most recipients of whom it is told what is wrong."""

_ODD: Final = re.compile(r"\\|[\x85\u2028\u2029]| {5}")
"""What variables have in them, as JSON, where a value may have what Meta refuses."""

_TEXT: Final = "message.text"

Plan = Callable[[Personalisation], object]
"""What tries to cut a message into parts; raises UnsupportedContentError."""


def check(
    content: Content,
    parsed: Mapping[str, Text],
    people: Recipients,
    personalisation: Personalisation,
    plan: Plan,
) -> Personalisation:
    """Return the personalisation with its lengths; raises InvalidError for each bad recipient.

    `parsed` are the texts of the message. Most lists pass a check of all recipients together. Only
    if that is not enough, each recipient is checked.
    """
    _refuse_missing(parsed, people, personalisation.syntax)
    _refuse_unfit(content, parsed, people, is_tidy=personalisation.tidy)
    measured = {field: parsed[field] for field in texts(content)}
    return _fitted(measured, people, personalisation, plan)


def _everybody(people: Recipients) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield all recipients with their variables."""
    brought = people.variables
    for position, recipient in enumerate(people.unique):
        yield recipient, brought.of(position) if brought else {}


def _told(people: Recipients, wrong: Iterable[tuple[str, str]]) -> None:
    """Raise InvalidError if there are bad recipients, with a reason for each position."""
    faults: dict[str, list[str]] = {}
    places: dict[str, int] = {}
    name, place = people.source
    for recipient, reason in wrong:
        places = places or people.places()
        said = f"{recipient!r} {reason}"
        if recipient in places:
            position = places[recipient]
            faults[f"{name}.{position}"] = [f"{place(position)}{said}"]
        else:
            faults.setdefault(name, []).append(said)
        if len(faults) == MOST_TOLD:
            faults.setdefault(name, []).append("There may be more: these are the first of them.")
            break
    if faults:
        raise InvalidError(errors=faults)


def _refuse_missing(parsed: Mapping[str, Text], people: Recipients, syntax: Syntax) -> None:
    needed = {
        value.name: field
        for field, text in parsed.items()
        for value in placeholders.values(text)
        if value.fallback is None
    }
    counts = people.variables.counts if people.variables else {}
    if nobody := [name for name in needed if not counts.get(name)]:
        raise InvalidError(errors=_nobody(nobody, needed, people, syntax))
    lacking = [name for name in needed if counts.get(name, 0) < len(people.unique)]
    if lacking:
        _told(people, _missing(lacking, people, syntax))


def _nobody(
    names: list[str], needed: Mapping[str, str], people: Recipients, syntax: Syntax
) -> dict[str, list[str]]:
    seen = people.variables.seen if people.variables else ()
    known = (
        f"the variables are {', '.join(sorted(seen)[:20])}" if seen else "there are no variables"
    )
    faults: dict[str, list[str]] = {}
    for name in names:
        reason = f"No recipient has a value for {name!r}, and {known}: {_advice(name, syntax)}."
        faults.setdefault(needed[name], []).append(reason)
    return faults


def _advice(name: str, syntax: Syntax) -> str:
    example = placeholders.example(name, syntax)
    return f"give one, or write {example} for a text that stands where there is none"


def _missing(names: list[str], people: Recipients, syntax: Syntax) -> Iterator[tuple[str, str]]:
    for recipient, values in _everybody(people):
        if missing := [name for name in names if name not in values]:
            listed = " and ".join(map(repr, missing))
            yield recipient, f"has no value for {listed}: {_advice(missing[0], syntax)}."


def _refuse_unfit(
    content: Content, parsed: Mapping[str, Text], people: Recipients, *, is_tidy: bool
) -> None:
    """Refuse recipients whose values leave a text empty or break a template's parameter."""
    components = content.template.components if content.template else ()
    parameters = {f"{place}.text" for place, _ in templates.parameters(components)}
    judged = {field: parsed[field] for field in (_TEXT, *parameters)}
    judged = {field: text for field, text in judged.items() if any(placeholders.values(text))}
    if any(map(_is_risky, judged.values())):
        suspects = _everybody(people)
    elif parameters & judged.keys() and not is_tidy:
        suspects = _odd(people)
    else:
        return

    def unfit() -> Iterator[tuple[str, str]]:
        for recipient, values in suspects:
            for field, text in judged.items():
                said = placeholders.render(text, values, recipient)
                if fault := _fault(field, templates.tidied(said) if is_tidy else said):
                    yield recipient, f"leaves {field} unfit: {fault}"
                    break

    _told(people, unfit())


def _fault(field: str, said: str) -> str:
    """Return what is wrong with a text when it is filled for one recipient."""
    if field != _TEXT:
        return templates.objection(said)
    return "" if said.strip() else "Is empty: write a text beside the placeholders."


def _is_risky(text: Text) -> bool:
    """Return whether the replacement of a missing value may leave a text empty, or break it."""
    fallbacks = (value.fallback or "x" for value in placeholders.values(text))
    return placeholders.may_be_blank(text) or any(map(templates.objection, fallbacks))


def _odd(people: Recipients) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the recipients whose variables may have line breaks, tabs or many blanks in them."""
    brought = people.variables
    for position, text in enumerate(brought.texts if brought else ()):
        if _ODD.search(text):
            yield people.unique[position], brought.of(position)  # type: ignore[union-attr]


def _fitted(
    measured: Mapping[str, Text], people: Recipients, personalisation: Personalisation, plan: Plan
) -> Personalisation:
    """Find lengths that no recipient's texts exceed and the channel takes."""
    longest = people.variables.longest if people.variables else {}
    bounds = {field: placeholders.bound(each, longest, units) for field, each in measured.items()}
    fitted = replace(personalisation, lengths=bounds)
    if _objection(plan, fitted) is None:
        return fitted
    # No recipient may have all of the longest values.
    sizes = {
        recipient: {
            field: units(placeholders.render(text, values, recipient))
            for field, text in measured.items()
        }
        for recipient, values in _everybody(people)
    }
    fitted = replace(personalisation, lengths=max(sizes.values(), key=_total))
    if _objection(plan, fitted) is not None:
        _told(people, _too_long(sizes, personalisation, plan))
    return fitted


def _too_long(
    sizes: Mapping[str, Mapping[str, int]], personalisation: Personalisation, plan: Plan
) -> Iterator[tuple[str, str]]:
    """Yield the recipients whose message is too long for the channel, trying as few as possible."""
    shortest_refused: float = math.inf
    longest_taken, reason = -1, ""
    for recipient, lengths in sizes.items():
        total = _total(lengths)
        if longest_taken < total < shortest_refused:
            said = _objection(plan, replace(personalisation, lengths=lengths))
            if said is None:
                longest_taken = total
            else:
                shortest_refused, reason = total, said
        if total >= shortest_refused:
            yield recipient, f"gets a text that is too long. {reason}"


def _objection(plan: Plan, personalisation: Personalisation) -> str | None:
    try:
        plan(personalisation)
    except UnsupportedContentError as error:
        return error.reason
    return None


def _total(lengths: Mapping[str, int]) -> int:
    return sum(lengths.values())
