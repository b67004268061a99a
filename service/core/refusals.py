"""Refusals: the errors that a client gets when a limit allows no more."""

from __future__ import annotations

from typing import Final

from service.core.limits import DAY, Limit
from service.core.rates import SECOND, Rate
from service.errors import LimitError, RateLimitError, SizeLimitError

_RAISE: Final = "or ask the operator for a higher limit"

_DO: Final = {
    Limit.BROADCASTS: ("unfinished broadcasts", "Wait until some have ended, delete some"),
    Limit.SESSIONS: ("sessions", "Delete some"),
    Limit.CONTACTS: ("contacts", "Delete some"),
    Limit.GROUPS: ("groups", "Delete some"),
    Limit.MEMBERS: ("contacts in all groups together", "Remove some from groups"),
    Limit.ATTACHMENTS: ("attachments", "Delete some"),
    Limit.CALLBACKS: ("callbacks", "Delete some"),
    Limit.TOKENS: ("valid tokens", "Revoke some"),
    Limit.OPT_OUTS: ("opt-outs", "Delete some"),
    Limit.SANDBOX_REPLIES: ("replies in the sandbox", "Delete a session of the sandbox"),
}
"""What a limit counts, and what makes room."""


def of(limit: Limit, most: int, used: int, amount: int, *, now: int) -> LimitError:
    """Return the refusal of `amount` more if `used` of `most` are used."""
    if limit == Limit.BYTES:
        return SizeLimitError(
            limit,
            f"The limit is {most:,} bytes. You store {used:,}, and this adds {amount:,}. Delete"
            f" attachments or contacts, {_RAISE}.",
        )
    if limit == Limit.RECIPIENTS:
        return _of_recipients(most, used, amount, now)
    what, remedy = _DO[limit]
    return LimitError(
        limit,
        f"The limit is {most:,} {what}. You have {used:,}, and this adds {amount:,}. {remedy},"
        f" {_RAISE}.",
    )


def of_rate(limit: str, rate: Rate, wait: int, sentence: str) -> RateLimitError:
    """Return the refusal of an event that a rate allows again after `wait` microseconds."""
    window, seconds = -(-rate.window // SECOND), -(-wait // SECOND)
    return RateLimitError(limit, sentence, quota=rate.burst, window=window, wait=seconds)


def _of_recipients(most: int, used: int, amount: int, now: int) -> LimitError:
    said = f"The limit is {most:,} recipients a day."
    if amount > most:
        sentence = f"{said} This broadcast has {amount:,}. Send it in parts on several days,"
        return SizeLimitError(Limit.RECIPIENTS, f"{sentence} {_RAISE}.")
    sentence = f"{said} You have used {used:,} today, and this adds {amount:,}. Send it tomorrow"
    return RateLimitError(
        Limit.RECIPIENTS,
        f"{sentence} (UTC), {_RAISE}.",
        quota=most,
        window=DAY // 1000,
        wait=-(-(DAY - now % DAY) // 1000),
    )
