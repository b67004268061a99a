"""Paging headers: `X-Pagination` and `Link`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from service.blueprints.context import address
from service.blueprints.requests import request
from service.core.paging import Page

DESCRIBED = {
    "X-Pagination": {
        "description": "JSON: total, total_pages, first_page, last_page, page, and previous_page"
        " and next_page if they exist",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": "The URLs of the next and the previous page (RFC 8288)",
        "schema": {"type": "string"},
    },
}


def headers(page: Page[Any]) -> dict[str, str]:
    """Return the paging headers; a single page has no `Link`."""
    facts = {
        "total": page.total,
        "total_pages": page.last_page,
        "first_page": 1,
        "last_page": page.last_page,
        "page": page.page,
    }
    links = []
    for relation, member, number in (
        ("prev", "previous_page", page.page - 1),
        ("next", "next_page", page.page + 1),
    ):
        if 1 <= number <= page.last_page:
            facts[member] = number
            links.append(f'<{_address(number)}>; rel="{relation}"')
    link = {"Link": ", ".join(links)} if links else {}
    return {"X-Pagination": json.dumps(facts), **link}


def _address(number: int) -> str:
    """Return the URL of another page of the requested list, without tokens."""
    args = {name: text for name, text in request.args.items() if name != "access_token"}
    args["page"] = str(number)
    return f"{address(request.path)}?{urlencode(args)}"
