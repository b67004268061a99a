"""The document that comes twice: in the body, and once more as the query string.

The guide's own client sends every document so, in the form that axios gives a query string:
`message[text]=hi`, `attachments[]=a&attachments[]=b`. What only repeats the body does no harm; what
says something else, or something that the body leaves out, is an error.
"""

from __future__ import annotations

from typing import Any

_WORDS = {True: "true", False: "false"}


def repeats(said: Any, meant: Any) -> bool:
    """Tell whether a value of a query string says what a JSON value says, or a part of it."""
    if isinstance(said, dict):
        members = meant if isinstance(meant, dict) else {}
        return all(name in members and repeats(said[name], members[name]) for name in said)
    if isinstance(said, list):
        # axios leaves out what is null.
        entries = [each for each in meant if each is not None] if isinstance(meant, list) else []
        return len(said) == len(entries) and all(map(repeats, said, entries))
    return _says(said, meant)


def _says(text: str, value: Any) -> bool:
    """Tell whether a text is how a JSON value is written in a query string."""
    if isinstance(value, bool):
        return text == _WORDS[value]
    if isinstance(value, int | float):
        return text == str(value) or _number(text) == value
    return text == ("" if value is None else value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
