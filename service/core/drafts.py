"""Drafts: a text as its first recipient would read it, while it is still being written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy.orm import Session as Db

from service.core import contact_values, placeholders, recipients
from service.core.numbering import Numbering
from service.core.placeholders import Syntax, Value
from service.core.variables import UnusableVariablesError, settle


class FirstRecipient(NamedTuple):
    """The recipient whose values a draft shows: an entry of `to` and its variables."""

    to: str
    variables: Mapping[str, Any]


class DraftPart(NamedTuple):
    """A piece of a draft; a placeholder without a value stands there as it was written."""

    text: str
    is_missing: bool = False


class Draft(NamedTuple):
    """A text in pieces; `missing` are the names without a value."""

    pieces: list[DraftPart]
    missing: list[str]


def read(
    db: Db, client_id: str, text: str, first: FirstRecipient | None, numbering: Numbering
) -> Draft:
    """Fill the placeholders of a text for its first recipient; raises MalformedTextError."""
    parsed = placeholders.parse(text, Syntax.BRACES)
    names = frozenset(value.name for value in placeholders.values(parsed))
    known = _values(db, client_id, first, names, numbering) if first and names else {}
    recipient = first.to if first else ""
    pieces: list[DraftPart] = []
    for piece in parsed:
        if isinstance(piece, str):
            pieces.append(DraftPart(piece))
        elif isinstance(piece, Value) and piece.fallback is None and piece.name not in known:
            pieces.append(DraftPart(f"{{{{{piece.name}}}}}", is_missing=True))
        else:
            pieces.append(DraftPart(piece.fill(known, recipient)))
    lacking = (value for value in placeholders.values(parsed) if value.fallback is None)
    missing = dict.fromkeys(value.name for value in lacking if value.name not in known)
    return Draft(pieces, [*missing])


def _values(
    db: Db, client_id: str, first: FirstRecipient, names: frozenset[str], numbering: Numbering
) -> Mapping[str, str]:
    """Return the values of a recipient: its own, or else those of its contact."""
    try:
        own = settle(first.variables, names)
    except UnusableVariablesError:
        return {}
    people = recipients.read([{"to": first.to, "variables": own}], names=names, numbering=numbering)
    if not people.unique:
        return own
    supplied = contact_values.supply(db, client_id, people, names)
    return supplied.variables.of(0) if supplied.variables else {}
