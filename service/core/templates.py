"""Templates: checks their parameters before the provider does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, Final

from service.errors import InvalidError

_BROKEN: Final = re.compile(r"[\n\r\t\v\f\x85\u2028\u2029]| {5}")
"""What Meta refuses in a parameter: line breaks, tabs, more than four spaces (132018)."""

_BLANKS: Final = re.compile(r"\s+")
_TOO_BROKEN: Final = (
    "Has a line break, a tab or more than four spaces in a row, which Meta refuses (132018). Remove"
    ' them, or set "tidy": true in the template.'
)
_EMPTY: Final = "Is empty, which Meta refuses (100). Give it a value."

_Parameter = tuple[str, MutableMapping[str, Any]]


def settle(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template as it is sent; raises InvalidError for each refused parameter.

    With `tidy`, replace each run of whitespace in a parameter with one space.
    """
    settled = {name: value for name, value in template.items() if name != "tidy"}
    if components := settled.get("components"):
        settled["components"] = deepcopy(components)
    said = list(parameters(settled.get("components")))
    if template.get("tidy"):
        for _, parameter in said:
            parameter["text"] = tidied(str(parameter.get("text") or "")).strip()
    judged = ((place, objection(each.get("text"))) for place, each in said)
    if faults := {f"{place}.text": [fault] for place, fault in judged if fault}:
        raise InvalidError(errors=faults)
    return settled


def tidied(text: str) -> str:
    """Return a text in which each run of blanks is one blank."""
    return _BLANKS.sub(" ", text)


def objection(text: object) -> str:
    """Say why Meta refuses a text as a parameter, in a sentence; an empty text: it does not."""
    if not isinstance(text, str) or not text.strip():
        return _EMPTY
    return _TOO_BROKEN if _BROKEN.search(text) else ""


def parameters(value: Any, place: str = "message.template.components") -> Iterator[_Parameter]:
    """Yield the text parameters, including those in the components of cards."""
    if isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from parameters(inner, f"{place}.{position}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "parameters" and isinstance(inner, list):
                yield from _texts(inner, f"{place}.parameters")
            else:
                yield from parameters(inner, f"{place}.{name}")


def _texts(said: list[Any], place: str) -> Iterator[_Parameter]:
    for position, parameter in enumerate(said):
        if isinstance(parameter, dict) and parameter.get("type") == "text":
            yield f"{place}.{position}", parameter
