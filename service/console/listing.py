"""Lists: which page of one is asked for, and whether the whole page or a fragment."""

from __future__ import annotations

from typing import Final

from service.blueprints.requests import request
from service.console.access import visitor
from service.core import entries
from service.core.paging import PageRequest
from service.models import Broadcast

SIZE: Final = 25
_LONGEST_SEARCH: Final = 200
_MOST_DIGITS = 9


def wanted(*, is_descending: bool = True, size: int = SIZE) -> PageRequest:
    """Return the page that the query string asks for, the first one by default."""
    given = request.args.get("page", "")
    number = int(given) if given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS else 1
    return PageRequest(max(number, 1), size, is_descending)


def template(name: str) -> str:
    """Return the template of a page, or of the part of it that htmx asks for."""
    part = "_" if request.headers.get("HX-Request") else ""
    return f"console/{part}{name}.html"


def words() -> str:
    """Return the text to search for; empty without a search."""
    return request.args.get("q", "").strip()[:_LONGEST_SEARCH]


def recipients(words: str, broadcast: Broadcast | None = None) -> tuple[str, ...]:
    """Return the recipients that a search may mean; none: it is a text.

    A national number is read by the broadcast's region, or else by the client's.
    """
    numbering = visitor().caller.numbering
    if broadcast:
        numbering = numbering.merged(broadcast.numbering or {})
    return entries.possible(words, numbering) if words else ()
