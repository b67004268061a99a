"""Requests for broadcasts, as clients make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.core.placeholders import Syntax
from service.core.recipient_lists import Recipients
from service.models import StepCondition


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """A session that sends the message to people whom earlier ways did not reach.

    `minutes` apply if `after` is `undelivered`. `message` replaces the broadcast's; None keeps it.
    """

    session_id: str
    after: StepCondition
    minutes: int | None = None
    message: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BroadcastRequest:
    """A client's request for a broadcast. Times are Unix milliseconds.

    `people` are parsed before a transaction is open: a million take a second.
    `fingerprint`: an idempotency key may only be reused with the same one.
    `within` is set for a session token: the broadcast may then use only objects of that session.
    `variables` are the values of recipients who have none of their own. `skips_invalid`: entries
    that are not valid become failed deliveries. `confirms_countries`: numbers are not suspected to
    have lost their zeros. `fallback` are the ways that follow.
    """

    session_id: str
    people: Recipients
    message: dict[str, Any]
    send_at: int | None = None
    expires_at: int | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    within: str | None = None
    personalise: bool = False
    syntax: Syntax = Syntax.BRACES
    variables: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    window: dict[str, Any] | None = None
    audience: dict[str, Any] | None = None
    skips_invalid: bool = False
    confirms_countries: bool = False
    fallback: Sequence[FallbackStep] = ()

    @property
    def is_personal(self) -> bool:
        """Whether the message has placeholders."""
        return self.personalise or self.people.variables is not None
