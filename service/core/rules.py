"""Rules: which contacts are in a group that is not filled by hand.

A rule is `{"tags": [...], "fields": {...}}`: its members have all of the tags, and in each field
just that text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import Session as Db

from service.core import paging
from service.database import is_postgres
from service.errors import InvalidError
from service.models import Contact

Rule = Mapping[str, Any]


def matching(db: Db, client_id: str, rule: Rule) -> Select[Contact]:
    """Return the query for the contacts that a rule matches, the oldest first."""
    matches = select(Contact).where(Contact.client_id == client_id, *_conditions(db, rule))
    return matches.order_by(Contact.id)


def count(db: Db, client_id: str, rule: Rule) -> int:
    """Return how many contacts a rule matches."""
    return paging.count(db, matching(db, client_id, rule))


def check(db: Db, client_id: str, rule: Rule) -> None:
    """Raise InvalidError for a rule that matches nobody."""
    if db.scalar(matching(db, client_id, rule).limit(1)) is None:
        reason = (
            f"No contact of yours has {said(rule)}. Compare the spelling with GET /contact, or"
            " import the contacts first."
        )
        raise InvalidError(errors={"rule": [reason]})


def said(rule: Rule) -> str:
    """Return a rule in words."""
    tags = [f"the tag {tag[:64]!r}" for tag in rule.get("tags") or ()]
    fields = [
        f"{text[:64]!r} as {name[:64]!r}" for name, text in (rule.get("fields") or {}).items()
    ]
    return " and ".join((*tags, *fields))


def _conditions(db: Db, rule: Rule) -> Iterator[ColumnElement[bool]]:
    tags = func.json_array_elements_text if is_postgres(db) else func.json_each
    fields = func.json_each_text if is_postgres(db) else func.json_each
    for tag in rule.get("tags") or ():
        each = tags(Contact.tags).table_valued("value")
        yield exists(select(1).select_from(each).where(each.c.value == tag))
    # A field is not asked for by a path: its name may have any sign in it.
    for name, text in (rule.get("fields") or {}).items():
        each = fields(Contact.fields).table_valued("key", "value")
        yield exists(select(1).select_from(each).where(each.c.key == name, each.c.value == text))
