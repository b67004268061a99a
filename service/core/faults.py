"""Validation errors by dotted field name, as the client named it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from marshmallow.exceptions import SCHEMA

from service.errors import InvalidError

P = ParamSpec("P")
Result = TypeVar("Result")


def flatten(messages: Any, path: str = "body") -> dict[str, list[Any]]:
    """Flatten marshmallow's nested messages to lists of reasons by dotted field.

    `{"message": {"location": {"lat": ["…"]}}}` becomes `{"message.location.lat": ["…"]}`. Errors
    about the whole document go under `path`.
    """
    flat: dict[str, list[Any]] = {}
    _gather(messages, (), path, flat)
    return flat


def under(prefix: str, faults: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Put a prefix before the field names."""
    return {
        prefix if name == "body" else f"{prefix}.{name}": reasons
        for name, reasons in faults.items()
    }


def _gather(messages: Any, steps: tuple[str, ...], whole: str, flat: dict[str, list[Any]]) -> None:
    if not isinstance(messages, Mapping):
        reasons = messages if isinstance(messages, list) else [messages]
        flat.setdefault(".".join(steps) or whole, []).extend(reasons)
        return
    for name, inner in messages.items():
        _gather(inner, steps if name == SCHEMA else (*steps, str(name)), whole, flat)


def noted(
    wrong: dict[str, Any], check: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
) -> Result | None:
    """Return the result of a check, or note its faults, so that the next check still runs."""
    try:
        return check(*args, **kwargs)
    except InvalidError as error:
        wrong.update(error.errors)
        return None
