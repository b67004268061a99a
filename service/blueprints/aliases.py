"""The guide's names for our routes, messages and fields, and its URL prefix.

Only this layer knows them. A route of the guide is a second rule of one of our views, tagged
`guide` in the OpenAPI description. Its fields are translated before `core` gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.blueprints.requests import request
from service.errors import InvalidError

PREFIX = "/api/v1"
"""The prefix that the guide's client puts before every route."""

TAG = "guide"
DESCRIPTION = "The same operations under the names that the guide's client uses"

_BESIDE_THE_API = ("console", "docs", "metrics", "openapi.json", "static")

_MESSAGES = {
    "/contact_groups": {
        "Group created successfully!": "ContactGroup group created successfully!",
        "Group fetched successfully!": "ContactGroup fetched successfully!",
        "Group updated successfully!": "ContactGroup updated successfully!",
        "Group deleted successfully!": "ContactGroup deleted successfully!",
    },
    "/message-log": {"Delivery fetched successfully!": "MessageLog fetched successfully!"},
}
"""The messages at the guide's routes, by our own message."""


class Prefix:
    """WSGI middleware that serves the API's routes under the guide's prefix too."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Remove the prefix from the path, then answer the request."""
        path = environ["PATH_INFO"]
        if path.startswith(f"{PREFIX}/"):
            plain = path.removeprefix(PREFIX).lstrip("/")
            if plain.split("/")[0] not in _BESIDE_THE_API:
                environ["PATH_INFO"] = f"/{plain}"
        return self._app(environ, start_response)


def said(message: str) -> str:
    """Return the message for the requested route: the guide's or our own."""
    rule = request.url_rule.rule if request.url_rule else ""
    words = _MESSAGES.get(f"/{rule.split('/')[1]}", {}) if rule else {}
    return words.get(message, message)


def settle(
    fields: Mapping[str, Any], synonyms: Mapping[str, str], current: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields under our names.

    `synonyms` maps the guide's names to ours. If both are sent and differ, the changed one counts.
    Some programs fetch an object, change one field and send the whole object back. Raises
    InvalidError if both were changed to different values.
    """
    settled = {name: value for name, value in fields.items() if name not in synonyms}
    for theirs, ours in synonyms.items():
        if theirs not in fields:
            continue
        value, was = fields[theirs], current.get(ours, ...)
        if settled.setdefault(ours, value) == value or value == was:
            continue
        if settled[ours] != was:
            raise InvalidError(errors={theirs: [f"Differs from `{ours}`. Send only one of them."]})
        settled[ours] = value
    return settled
