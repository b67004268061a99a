"""WhatsApp's restrictions of a number, as WAHA reports them since 2026.8.

A number that wrote to too many strangers has a "reachout timelock". One that started too many chats
in a cycle is "capped". Its session is still WORKING, but each further try extends the restriction.
https://github.com/devlikeapro/waha/releases/tag/2026.8.1
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from service.channels.errors import BlockedError

UNDATED: Final = 3_600.0
"""Seconds to hold a session whose restriction has no known end."""

CODE: Final = "restricted"

_ACTIVE: Final = ("isActive", "is_active", "active")
_ENDS: Final = (
    *("timeEnforcementEnds", "time_enforcement_ends", "endsAt", "ends_at", "until", "expiresAt"),
    *("cycleEnd", "cycle_end", "cycleEndTimestamp", "cycle_end_timestamp"),
)
_CAPPING: Final = ("cappingStatus", "capping_status", "status")
_MILLISECONDS: Final = 1e11
"""A larger Unix time is in milliseconds: as seconds it would be after the year 5138."""


def restricted(ends: float | None = None, *, now: float) -> BlockedError:
    """Return the error of a restricted number. `ends` is in Unix seconds, None if unknown."""
    until = "for an unknown time" if ends is None else f"until {_written(ends)}"
    reason = f"WhatsApp has restricted this number {until}: it cannot write to strangers."
    return BlockedError(reason, code=CODE, wait=UNDATED if ends is None else ends - now)


def of_account(me: object, now: float) -> BlockedError | None:
    """Return the restriction of the account in a session's `me`, if any."""
    if not isinstance(me, Mapping):
        return None
    return timelock(me.get("reachoutTimelock"), now) or capping(me.get("messageCapping"), now)


def timelock(said: object, now: float) -> BlockedError | None:
    """Return the lock against writing to strangers, if it is active."""
    lock = _inner(said, "reachoutTimelock")
    ends, active = _moment(_first(lock, _ENDS)), _first(lock, _ACTIVE)
    is_over = ends is not None and ends <= now
    if active is False or is_over or (active is None and ends is None):
        return None
    return restricted(ends, now=now)


def capping(said: object, now: float) -> BlockedError | None:
    """Return the cap on new chats, if it is reached."""
    cap = _inner(said, "messageCapping")
    ends = _moment(_first(cap, _ENDS))
    if _first(cap, _CAPPING) != "CAPPED" or (ends is not None and ends <= now):
        return None
    return restricted(ends, now=now)


def _inner(said: object, name: str) -> Mapping[str, Any]:
    """Return an object that may be nested in another one or missing."""
    found = said.get(name, said) if isinstance(said, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), None)


def _moment(written: Any) -> float | None:
    """Parse a time in Unix seconds, Unix milliseconds or ISO 8601; None if there is none."""
    try:
        number = float(written)
    except (TypeError, ValueError, OverflowError):
        return _iso(written)
    seconds = number / 1000 if number > _MILLISECONDS else number
    return seconds if 0 < seconds < _MILLISECONDS else None


def _iso(written: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(written)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _written(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
