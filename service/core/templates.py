"""Templates: what fills their gaps, as far as it can be judged before a provider sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, Final

from service.errors import InvalidError

_BROKEN: Final = re.compile(r"[\n\r\t\v\f\x85\u2028\u2029]| {5}")
"""What Meta refuses in a parameter: line breaks, tabs, more than four blanks (132018)."""

_BLANKS: Final = re.compile(r"\s+")
_TOO_BROKEN: Final = (
    "Has a line break, a tab or more than four blanks in a row, which Meta refuses (132018): take"
    ' them out, or set "tidy": true in the template.'
)
_EMPTY: Final = "Is empty, which Meta refuses (100): give a text."

_Parameter = tuple[str, MutableMapping[str, Any]]


def settle(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template as it is sent; raises InvalidError naming each parameter that is refused.

    Where it says `tidy`, all blanks in a parameter have become one.
    """
    settled = {name: value for name, value in template.items() if name != "tidy"}
    if components := settled.get("components"):
        settled["components"] = deepcopy(components)
    parameters = list(_parameters(settled.get("components"), "message.template.components"))
    if template.get("tidy"):
        for _, parameter in parameters:
            parameter["text"] = _BLANKS.sub(" ", str(parameter.get("text") or "")).strip()
    faults = {f"{place}.text": [fault] for place, each in parameters if (fault := _fault(each))}
    if faults:
        raise InvalidError(errors=faults)
    return settled


def _fault(parameter: Mapping[str, Any]) -> str:
    text = parameter.get("text")
    if not isinstance(text, str) or not text.strip():
        return _EMPTY
    return _TOO_BROKEN if _BROKEN.search(text) else ""


def _parameters(value: Any, place: str) -> Iterator[_Parameter]:
    """Yield the parameters that are texts; cards have components of their own."""
    if isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _parameters(inner, f"{place}.{position}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "parameters" and isinstance(inner, list):
                yield from _texts(inner, f"{place}.parameters")
            else:
                yield from _parameters(inner, f"{place}.{name}")


def _texts(parameters: list[Any], place: str) -> Iterator[_Parameter]:
    for position, parameter in enumerate(parameters):
        if isinstance(parameter, dict) and parameter.get("type") == "text":
            yield f"{place}.{position}", parameter
