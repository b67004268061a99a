"""Limits on how long a thread waits for Postgres, beside those of its connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic


class _Limits(threading.local):
    """Limits on the waits of one thread, in addition to its connection's patience."""

    connected_by: float | None = None
    """The monotonic deadline for making and checking a connection."""

    patience: float | None = None
    """Maximum seconds for each answer; it overrides the connection's patience."""


_limits = _Limits()


@contextmanager
def connecting(seconds: float) -> Iterator[None]:
    """Limit the time to get a connection, in this thread."""
    before, _limits.connected_by = _limits.connected_by, monotonic() + seconds
    try:
        yield
    finally:
        _limits.connected_by = before


@contextmanager
def waiting(seconds: float = inf) -> Iterator[None]:
    """Wait up to `seconds` for each answer in this thread, for example in migrations."""
    before, _limits.patience = _limits.patience, seconds
    try:
        yield
    finally:
        _limits.patience = before


def statement_timeout() -> dict[str, str]:
    """Return this thread's own statement timeout, or an empty dict if it has none."""
    if _limits.patience is None:
        return {}
    return {"statement_timeout": "0" if _limits.patience == inf else milliseconds(_limits.patience)}


def milliseconds(seconds: float) -> str:
    """Return a duration as Postgres takes it in a setting."""
    return str(round(seconds * 1000))


def left() -> float:
    """Return the seconds left for this thread to get a connection."""
    if _limits.connected_by is None:
        return inf
    return max(0.0, _limits.connected_by - monotonic())


def patience(usual: float) -> float:
    """Return how many seconds this thread waits for its next answer; `usual` is the connection's.

    While getting a connection, this is half of the time that is left. If the connection turns out
    to be dead, the other half remains for a new one.
    """
    if _limits.connected_by is not None:
        return left() / 2
    return usual if _limits.patience is None else _limits.patience
