"""What decorators note about a view, for the description and for each other."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from service.blueprints import parsing
from service.core.tokens import Scope


def is_described(view: Callable[..., Any]) -> bool:
    """Return whether the OpenAPI description has this view."""
    return hasattr(view, "_apidoc")


def is_by_session(view: Callable[..., Any]) -> bool:
    """Return whether a session token is enough for a view."""
    return bool(getattr(view, "_apidoc", {}).get("by_session"))


def scope_of(view: Callable[..., Any]) -> Scope | None:
    """Return the scope that a view requires, None if it needs no token."""
    scope: Scope | None = getattr(view, "_apidoc", {}).get("scope")
    return scope


def operation_of(view: Callable[..., Any]) -> str:
    """Return the operationId of a view; if it has several rules, that of our own rule."""
    operation: str = getattr(view, "_apidoc", {})["operation"]
    return operation


def note(view: Callable[..., Any], **facts: Any) -> None:
    """Add facts for the description. Decorated views share theirs, so copy them."""
    noted = {**deepcopy(getattr(view, "_apidoc", {})), **facts}
    view.__dict__["_apidoc"] = noted


def takes_body(view: Callable[..., Any]) -> bool:
    """Return whether a view takes a JSON body."""
    return any(taken["in"] == "json" for taken in _taken(view))


def query_of(view: Callable[..., Any]) -> set[str]:
    """Return the query parameters that a view takes."""
    schemas = [taken["schema"] for taken in _taken(view) if taken["in"] == "query"]
    return set[str]().union(*(parsing.names(schema) for schema in schemas))


def _taken(view: Callable[..., Any]) -> list[dict[str, Any]]:
    noted: dict[str, Any] = getattr(view, "_apidoc", {}).get("arguments", {})
    return list(noted.get("parameters", ()))
