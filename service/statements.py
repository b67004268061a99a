"""Statements: which SQL changes rows."""

from __future__ import annotations

import re
from typing import Final

_DEEPEST: Final = 12
"""Parentheses within parentheses that are followed."""

_VERB: Final = r"(?:INSERT|UPDATE|DELETE|MERGE|REPLACE|TRUNCATE)\b"
_COMMENT: Final = r"--[^\n]*+|/\*(?s:.*?)\*/"
_GAP: Final = rf"(?:\s|{_COMMENT})*+"
_NAME: Final = r'(?:\w++|"(?:[^"]|"")*+")'

# In strings, names and comments, neither parentheses nor words mean anything.
_UNREAD: Final = rf"""\b[eE]'(?:[^'\\]|\\.|'')*+'|'(?:[^']|'')*+'|"[^"]*+"|{_COMMENT}"""


def _nested(depth: int) -> str:
    """Return the pattern of what is between two parentheses, and them."""
    inside = r"(?!)"
    for _ in range(depth):
        inside = rf"\((?:{_UNREAD}|[^()'\"]|{inside})*+\)"
    return inside


_PARENTHESES: Final = _nested(_DEEPEST)
_HEAD: Final = (
    rf"{_NAME}{_GAP}(?:{_PARENTHESES}{_GAP})?AS\b{_GAP}(?:(?:NOT\b{_GAP})?MATERIALIZED\b{_GAP})?"
)
_QUERY: Final = rf"{_HEAD}{_PARENTHESES}{_GAP}"
_WITH: Final = rf"WITH\b{_GAP}(?:RECURSIVE\b{_GAP})?"
_MAIN: Final = rf"{_WITH}{_QUERY}(?:,{_GAP}{_QUERY})*+"
_INNER: Final = rf"{_WITH}(?:{_QUERY},{_GAP})*{_HEAD}\({_GAP}"
_CHANGE: Final = re.compile(rf"{_GAP}(?:{_INNER})?(?:{_MAIN})?{_VERB}", re.IGNORECASE)


def changes(statement: str) -> bool:
    """Return whether a statement inserts, updates or deletes rows, also in or after a `WITH`.

    Neither a string, a name nor a comment counts, nor does the lock of `SELECT … FOR UPDATE`.
    """
    return _CHANGE.match(statement) is not None
