"""Actions of requests: what each one does, for the audit log."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import cast

from flask import Flask, current_app, g

from service import ids
from service.blueprints import facts
from service.blueprints.context import caller, known_caller
from service.blueprints.requests import request
from service.core import audit
from service.core.audit import Action
from service.models import ActionSource

_LONGEST_ADDRESS = 64
"""Characters of an address: a proxy that is trusted by mistake may name anything."""

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OPERATION = re.compile(r"([a-z]+)([A-Z]\w+)")


def register(app: Flask) -> None:
    """Clear the action when its request ends, because a thread answers many requests."""
    app.teardown_request(lambda _error: audit.begin(None))


def begin_operation() -> None:
    """Record which API operation this request calls."""
    view = current_app.view_functions[cast("str", request.endpoint)]
    begin(name_of(facts.operation_of(view)), ActionSource.API)


def begin(name: str, source: ActionSource) -> None:
    """Record what this request does, unless it only reads."""
    if request.method not in _CHANGING:
        return
    noun, values = name.partition(".")[0], request.view_args or {}
    known = [each for each in values.values() if ids.is_id(str(each))]
    numbers = [str(each) for each in values.values() if not ids.is_id(str(each))]
    action = Action(
        name,
        source,
        address=(request.remote_addr or "")[:_LONGEST_ADDRESS] or None,
        request_id=g.request_id,
        object_id=values.get(f"{noun}_id") or next(reversed(known), None),
        detail=", ".join(map(audit.mask, numbers)) or None,
    )
    _name_caller(action)
    audit.begin(action)


@lru_cache
def name_of(operation: str) -> str:
    """Return the action of an operation: `session_token.create` for `createSessionToken`."""
    verb, noun = _split(operation)
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", noun).lower()
    return f"{words}.{verb}"


def _split(operation: str) -> tuple[str, str]:
    match = _OPERATION.fullmatch(operation)
    if match is None:
        raise ValueError(f"An operation is a verb and a noun, not {operation}.")
    verb, noun = match.groups()
    return verb, noun.removesuffix("s") if verb == "import" else noun


def _name_caller(action: Action) -> None:
    if known_caller() is not None:
        action.client_id, action.token_id = caller().client_id, caller().token_id
