"""Statements: which SQL changes rows."""

from __future__ import annotations

import re
from typing import Final

_CHANGE: Final = re.compile(
    r"(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|DELETE\s+FROM|UPDATE\s+\S+\s+(?:AS\s+\w+\s+)?SET)\b"
)


def changes(statement: str) -> bool:
    """Return whether a statement inserts, updates or deletes rows, also in or after a `WITH`.

    Statements are written in the service, with their verbs in capitals and all values bound: no
    string in them can look like a change. The lock of `SELECT … FOR UPDATE` is none.
    """
    return _CHANGE.search(statement) is not None
