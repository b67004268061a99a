"""The decision after a driver's answer: sent, retried, failed or uncertain."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    TemplateError,
    UncertainError,
    UnknownCodeError,
)
from service.channels.steps import construct
from service.config import Settings
from service.core.decisions import Decision, Hold
from service.core.deliveries.claims import Claimed
from service.core.deliveries.progress import VOID, doubted
from service.core.deliveries.transitions import Outcome, storable
from service.models import DeliveryStatus, OnUncertain, Session

_HELD = "WhatsApp holds this message until it has assessed the template's quality."

_LONGEST_WAIT = 30 * 86400.0
"""Longest wait, in seconds, that is accepted from a provider."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The retry rules of a broadcast's deliveries; times in seconds.

    `expires_at` is in milliseconds of Unix time. `resend`: send an uncertain part again.
    """

    max_attempts: int
    retry_base: float
    retry_cap: float
    expires_at: int
    resend: bool

    @classmethod
    def of(cls, settings: Settings, session: Session, expires_at: int) -> Policy:
        """Return the rules for a session's broadcast that expires at `expires_at`."""
        return cls(
            max_attempts=session.max_attempts or settings.max_attempts,
            retry_base=settings.retry_base,
            retry_cap=settings.retry_cap,
            expires_at=expires_at,
            resend=session.on_uncertain == OnUncertain.RESEND,
        )


def backoff(attempts: int, policy: Policy, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait after `attempts` attempts: exponential with full jitter.

    Full jitter spreads deliveries that failed together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    ceiling = min(policy.retry_cap, policy.retry_base * 2.0 ** min(attempts - 1, 32))
    return ceiling * draw()


def sent(delivery: Claimed, message_ids: list[str], *, now: int) -> Decision:
    """Decide on a delivery whose parts were all accepted."""
    taken, claimed_at = " ".join(message_ids), delivery.claimed_at
    fields = (delivery.id, DeliveryStatus.SENT, 1, now, now, taken, None, None, claimed_at)
    return construct(Decision, (construct(Outcome, fields), None, "", "", False, False, ()))


def held(delivery: Claimed, message_ids: list[str], *, now: int) -> Decision:
    """Decide on a delivery that the provider holds: a receipt will report the result."""
    decision = sent(delivery, message_ids, now=now)
    return decision._replace(
        outcome=decision.outcome._replace(
            status=DeliveryStatus.HELD, code=DeliveryStatus.HELD, reason=_HELD
        )
    )


def untried(delivery: Claimed, *, now: int, due_at: int | None = None) -> Outcome:
    """Return the outcome that puts a delivery back unchanged, for the next claim."""
    due = now if due_at is None else due_at
    outcome = Outcome(delivery.id, DeliveryStatus.QUEUED, 0, now, due, delivery.message_ids)
    return outcome._replace(claimed_at=delivery.claimed_at)


def judge(  # noqa: PLR0913 - the case, the rules, the clock and randomness
    error: Exception,
    delivery: Claimed,
    message_ids: list[str],
    policy: Policy,
    session_id: str,
    *,
    now: int,
    draw: Callable[[], float] = random.random,
) -> Decision:
    """Decide on a delivery that failed at the part after `message_ids`."""
    case = _Case(delivery, " ".join(message_ids) or None, policy, now, draw)
    match error:
        case BlockedError():
            hold = blocked(error, session_id, now=now)
            # A blocked account has no time to wait for. If it recovers at once and is blocked
            # again, this wait keeps the delivery from going round and round.
            rest = hold.until or now + _ms(policy.retry_base)
            return Decision(case.ended(DeliveryStatus.QUEUED, error, tried=0, due_at=rest), hold)
        case RequestError():
            hold = Hold(
                storable(error.reason),
                broadcast_id=delivery.broadcast_id,
                of_template=isinstance(error, TemplateError),
            )
            return Decision(case.ended(DeliveryStatus.FAILED, error), hold)
        case PermanentError():
            failed = Decision(case.ended(DeliveryStatus.FAILED, error))
            return failed._replace(
                session_id=session_id,
                recipient=delivery.recipient,
                opted_out=error.opted_out,
                is_unknown=isinstance(error, UnknownCodeError),
            )
        case UncertainError() if not (policy.resend or error.provider_id):
            return Decision(case.ended(DeliveryStatus.UNCERTAIN, error))
        case SendError():
            return Decision(case.again(error, getattr(error, "wait", 0.0)))
        case _:
            return Decision(case.again(_defect(error), 0.0))


def blocked(error: BlockedError, session_id: str, *, now: int) -> Hold:
    """Return the hold on a session whose account the provider has blocked."""
    until = None if error.wait is None else now + _ms(error.wait)
    return Hold(storable(error.reason), session_id=session_id, until=until)


def final(decision: Decision, why: str) -> Decision:
    """Fail a delivery instead of retrying it."""
    outcome = decision.outcome
    if outcome.status is not DeliveryStatus.QUEUED:
        return decision
    reason = f"{outcome.reason} Crier does not retry it: {why}."
    return decision._replace(outcome=outcome._replace(status=DeliveryStatus.FAILED, reason=reason))


def spared(decision: Decision) -> Decision:
    """Queue a delivery again, because the broadcast is already paused for this refusal."""
    outcome = decision.outcome._replace(
        status=DeliveryStatus.QUEUED, tried=0, code=None, reason=None
    )
    return decision._replace(outcome=outcome)


@dataclass(frozen=True, slots=True)
class _Case:
    """One delivery while it is decided."""

    delivery: Claimed
    message_ids: str | None
    policy: Policy
    now: int
    draw: Callable[[], float]

    def ended(
        self,
        status: DeliveryStatus,
        error: SendError,
        *,
        tried: int = 1,
        due_at: int | None = None,
        reason: str | None = None,
    ) -> Outcome:
        return Outcome(
            self.delivery.id,
            status,
            tried,
            self.now,
            self.now if due_at is None else due_at,
            self.message_ids,
            storable(error.code) or None,
            storable(reason or error.reason),
            self.delivery.claimed_at,
        )

    def again(self, error: SendError, wait: float) -> Outcome:
        """Queue it again, unless it has used all attempts or expires first."""
        case = self.doubting() if isinstance(error, UncertainError) else self
        attempts = self.delivery.attempts + 1
        due_at = self.now + _ms(max(backoff(attempts, self.policy, self.draw), wait))
        if attempts >= self.policy.max_attempts:
            return case.given_up(error, f"Given up after {attempts} attempts.")
        if due_at >= self.policy.expires_at:
            return case.given_up(error, "Given up: the broadcast expires before the next attempt.")
        return case.ended(DeliveryStatus.QUEUED, error, due_at=due_at)

    def doubting(self) -> _Case:
        """Return the same case, marked uncertain: the provider may have the last part."""
        message_ids = doubted((self.message_ids or "").split())
        return replace(self, message_ids=" ".join(message_ids))

    def given_up(self, error: SendError, why: str) -> Outcome:
        """Close it: as uncertain if it may have arrived, as failed otherwise."""
        unknown = VOID in (self.message_ids or "").split()
        status = DeliveryStatus.UNCERTAIN if unknown else DeliveryStatus.FAILED
        return self.ended(status, error, reason=f"{error.reason} {why}")


def _defect(error: Exception) -> SendError:
    """Return the public error for a bug in Crier; the log has the details."""
    name = type(error).__name__
    return RetryableError(f"Crier had an internal error ({name}).", code="internal_error")


def _ms(seconds: float) -> int:
    """Convert seconds to milliseconds. The wait may be any float that a provider sent."""
    return round(min(max(0.0, seconds), _LONGEST_WAIT) * 1000)
