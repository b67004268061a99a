"""The guide's other names for what is here: a prefix, addresses, messages and fields.

Nothing behind this layer knows them. An address of the guide is a second rule of our own view, an
operation with the tag `guide` in the description; its fields are translated before `core` sees
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.blueprints.requests import request
from service.errors import InvalidError

PREFIX = "/api/v1"
"""What the guide's own client puts in front of every route of the API."""

TAG = "guide"
DESCRIPTION = "Other names of the same things, which the guide's own client uses"

_BESIDE_THE_API = ("docs", "metrics", "openapi.json", "static")

_MESSAGES = {
    "/contact_groups": {
        "Group created successfully!": "ContactGroup group created successfully!",
        "Group fetched successfully!": "ContactGroup fetched successfully!",
        "Group updated successfully!": "ContactGroup updated successfully!",
        "Group deleted successfully!": "ContactGroup deleted successfully!",
    },
    "/message-log": {"Delivery fetched successfully!": "MessageLog fetched successfully!"},
}
"""What is said at an address of the guide in the place of our own message."""


class Prefix:
    """A WSGI application that also answers under the guide's prefix, to the API's routes alone."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request as if the prefix were not in its path."""
        path = environ["PATH_INFO"]
        if path.startswith(f"{PREFIX}/"):
            plain = path.removeprefix(PREFIX).lstrip("/")
            if plain.split("/")[0] not in _BESIDE_THE_API:
                environ["PATH_INFO"] = f"/{plain}"
        return self._app(environ, start_response)


def said(message: str) -> str:
    """Return a message in the words of the address that was asked."""
    rule = request.url_rule.rule if request.url_rule else ""
    words = _MESSAGES.get(f"/{rule.split('/')[1]}", {}) if rule else {}
    return words.get(message, message)


def settle(
    fields: Mapping[str, Any], synonyms: Mapping[str, str], current: Mapping[str, Any]
) -> dict[str, Any]:
    """Return fields under our names, where some came under the guide's.

    `synonyms` maps the guide's names to ours. Of two that differ, the one that is no longer as it
    was is meant: a program changes one of them in the object that it fetched, and sends all of it.
    Raises InvalidError where both were changed, each to something else.
    """
    settled = {name: value for name, value in fields.items() if name not in synonyms}
    for theirs, ours in synonyms.items():
        if theirs not in fields:
            continue
        value, was = fields[theirs], current.get(ours, ...)
        if settled.setdefault(ours, value) == value or value == was:
            continue
        if settled[ours] != was:
            raise InvalidError(errors={theirs: [f"Contradicts `{ours}`: send only one."]})
        settled[ours] = value
    return settled
