"""Query strings that repeat the body.

The guide's client sends every document twice: as the body, and as a query string in axios's
format (`message[text]=hi`, `attachments[]=a&attachments[]=b`). A repeated value is ignored. A value
that differs from the body, or that the body does not have, is an error.
"""

from __future__ import annotations

from typing import Any

_WORDS = {True: "true", False: "false"}


def repeats(said: Any, meant: Any) -> bool:
    """Return whether a query value equals a JSON value or a part of it."""
    if isinstance(said, dict):
        members = meant if isinstance(meant, dict) else {}
        return all(name in members and repeats(said[name], members[name]) for name in said)
    if isinstance(said, list):
        # axios omits null.
        entries = [each for each in meant if each is not None] if isinstance(meant, list) else []
        return len(said) == len(entries) and all(map(repeats, said, entries))
    return _says(said, meant)


def _says(text: str, value: Any) -> bool:
    """Return whether a string is how a query string writes a JSON value."""
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
