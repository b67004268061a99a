"""Limits: how much a client may store and use.

The settings have defaults; a client may have its own. `core.usages` counts the use, and refuses
more than a limit allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final

from service.config import Settings
from service.core import rates
from service.core.rates import Rate

MOST: Final = 10**12
"""The highest limit that a client may have."""

DAY: Final = 86_400_000
"""Milliseconds."""


class Limit(StrEnum):
    """What is limited. The setting is its name in capitals after `LIMIT_`."""

    REQUESTS = "requests"
    BURST = "burst"
    RECIPIENTS = "recipients"
    BYTES = "bytes"
    BROADCASTS = "broadcasts"
    SESSIONS = "sessions"
    CONTACTS = "contacts"
    GROUPS = "groups"
    MEMBERS = "members"
    ATTACHMENTS = "attachments"
    CALLBACKS = "callbacks"
    TOKENS = "tokens"
    OPT_OUTS = "opt_outs"
    SANDBOX_REPLIES = "sandbox_replies"


Own = Mapping[str, int] | None
"""The limits of a client that differ from the settings, as its row has them."""


def of(settings: Settings, own: Own) -> dict[Limit, int]:
    """Return all limits of a client."""
    return {limit: one(settings, own, limit) for limit in Limit}


def one(settings: Settings, own: Own, limit: Limit) -> int:
    """Return one limit of a client."""
    usual: int = getattr(settings, f"limit_{limit}")
    return own.get(limit, usual) if own else usual


def request_rate(settings: Settings, own: Own) -> Rate:
    """Return the rate of a client's requests."""
    return _rate(one(settings, own, Limit.REQUESTS), one(settings, own, Limit.BURST))


def failure_rate(settings: Settings) -> Rate:
    """Return the rate of an address's sign-ins that fail."""
    most = settings.sign_in_failures
    return Rate(most, 60 * rates.SECOND // most)


@lru_cache(maxsize=1_000)
def _rate(events: int, burst: int) -> Rate:
    return rates.per_second(events, burst)
