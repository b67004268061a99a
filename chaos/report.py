"""The report: what a run has found, and whether the service kept its promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from chaos.api import Answer
from chaos.audit import Audit
from chaos.event_log import Entry
from chaos.plan import Plan
from chaos.resumptions import LONGEST_RESUMPTION

LONGEST_ANSWER = 5.0
"""Seconds within which the API has to answer while the database is away."""

_UNFLUSHED = 2
"""Batches of results that a process keeps unwritten: `service/dispatch/sending/recorder.py`."""


@dataclass(frozen=True, slots=True)
class Migrations:
    """What became of migrations of the tables; `seconds` of each try, of which some are repeats."""

    seconds: list[float]
    repeats: Counter[str]
    given_up: int

    def __str__(self) -> str:
        done = f"{len(self.seconds)} tries, longest {max(self.seconds, default=0.0):.2f} s"
        causes = "".join(f", {n} x {cause}" for cause, n in sorted(self.repeats.items()))
        return f"{done}; repeated {self.repeats.total()}{causes}"


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run has found; times in seconds."""

    plan: Plan
    audit: Audit
    faults: Counter[str]
    answers: Counter[int]
    failures: list[str]
    complaints: list[str]
    server_errors: list[str]
    refused: list[str]
    changed: list[str]
    slowest: Answer | None
    slowest_while_away: Answer | None
    slowest_while_migrated: Answer | None
    refused_for_nothing: int
    resumptions: list[float]
    skipped: list[str]
    uploads: Counter[str]
    migrations: Migrations
    log: Counter[str] = field(default_factory=Counter)
    quiet_after: float = 0.0
    elapsed: float = 0.0
    port_in_use: int = 0
    renewals: int = 0

    @property
    def lost(self) -> int:
        """Return how many accepted deliveries nobody can account for."""
        return sum(tally.lost for tally in self.audit.tallies.values())

    @property
    def stuck(self) -> int:
        """Return how many deliveries did not come to an end."""
        return sum(tally.stuck for tally in self.audit.tallies.values()) + self.audit.chunks_left

    @property
    def bound(self) -> int:
        """Return how many copies are allowed where the channel is not idempotent and resends.

        Whoever is killed, frozen or stopped while the database is away takes with it what it had
        under way, and the results it had not written.
        """
        return self.blows * (self.plan.in_flight + _UNFLUSHED * self.plan.flush_batch)

    @property
    def blows(self) -> int:
        """Return how often a process may have gone without its last results.

        A worker whose `max_requests` are over while the database is away goes so, too.
        """
        alone = sum(n for event, n in self.log.items() if event.startswith("left without a word"))
        return sum(self.faults[name] for name in ("kill", "ledger", "stop", "term")) + alone

    @property
    def faults_of_service(self) -> list[str]:
        """Return why the promise was not kept; empty: it was."""
        copies = {name: tally.copies for name, tally in self.audit.tallies.items()}
        strict = {name: copies.get(name, 0) for name in ("idempotent", "hold", "cloud")}
        wrong = {
            "lost": self.lost,
            "stuck": self.stuck,
            "broadcasts with wrong counters": self.audit.wrong_counters,
            "messages nobody had ordered": self.audit.strangers,
            "counts that went backwards": len(self.changed),
            **{f"duplicated ({name})": count for name, count in strict.items()},
            "duplicated (resend) beyond the bound": max(0, copies.get("resend", 0) - self.bound),
        }
        if self.plan.spares_ledgers:
            wrong["uncertain though not under way"] = len(self.audit.under_way.neither)
        return [f"{what}: {count}" for what, count in wrong.items() if count]

    @property
    def _under_way(self) -> str:
        found = self.audit.under_way
        blows = max(1, self.faults["kill"] + self.faults["ledger"])
        uncertain = found.taken + found.begun + len(found.neither)
        return (
            f"uncertain by the provider's list: {found.taken} were under way, {found.begun} had"
            f" begun, {len(found.neither)} had not; {uncertain / blows:.1f} for each kill"
        )

    @property
    def blemishes(self) -> list[str]:
        """Return what should not have happened either, though nobody was lost by it."""
        found = [*self.failures, *self.complaints, *self.refused, *self.server_errors]
        if self.refused_for_nothing:
            found.append(f"answers of 503 though nothing was away: {self.refused_for_nothing}")
        if self.slowest_while_away and self.slowest_while_away.seconds > LONGEST_ANSWER:
            found.append(f"Postgres was away: {_timed(self.slowest_while_away)}")
        if self.slowest_while_migrated and self.slowest_while_migrated.seconds > LONGEST_ANSWER:
            found.append(f"the tables were migrated: {_timed(self.slowest_while_migrated)}")
        if self.migrations.given_up:
            found.append(f"migrations that could not be carried out: {self.migrations.given_up}")
        found += [
            f"sending went on only {seconds:.1f} s after Postgres was back"
            for seconds in self.resumptions
            if seconds > LONGEST_RESUMPTION
        ]
        return found

    def lines(self) -> Iterable[str]:
        """Return the report as text."""
        plan, audit = self.plan, self.audit
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        yield f"chaos on {plan.database} ({plan.engine}), seed {plan.seed}, {self.elapsed:.0f} s"
        yield from (f"  {sentence}" for sentence in self.skipped)
        yield f"  faults: {faults}"
        yield f"  broadcasts accepted {audit.broadcasts}, never answered {audit.unanswered}"
        for name, tally in audit.tallies.items():
            statuses = ", ".join(f"{n} {status}" for status, n in sorted(tally.statuses.items()))
            yield f"  {name}: {tally.accepted} deliveries: {statuses}"
            bound = f" (bound {self.bound} of {self.blows} blows)" if name == "resend" else ""
            yield f"    lost {tally.lost}, duplicated {tally.copies}{bound}, stuck {tally.stuck}"
            yield from (f"    {n} {code}" for code, n in sorted(tally.codes.items()))
            if tally.received_though_failed:
                yield f"    failed though received: {tally.received_though_failed}"
            if tally.received_though_uncertain:
                yield f"    uncertain and received: {tally.received_though_uncertain}"
        yield f"  {self._under_way}"
        yield f"  wrong counters {audit.wrong_counters}, strangers {audit.strangers}"
        answers = ", ".join(f"{n} x {code or 'none'}" for code, n in sorted(self.answers.items()))
        yield f"  API answers: {answers}; 5xx other than 503: {len(self.server_errors)}"
        yield f"  slowest answer: {_timed(self.slowest)}"
        if self.faults["postgres"] or self.faults["silent"]:
            yield f"  slowest answer while Postgres was away: {_timed(self.slowest_while_away)}"
            yield f"  sending again after Postgres was back: {_spread(self.resumptions)}"
        if self.faults["migrate"]:
            yield f"  slowest answer during a migration: {_timed(self.slowest_while_migrated)}"
            yield f"  migrations: {self.migrations}"
        if self.uploads:
            said = ", ".join(f"{n} x {what}" for what, n in sorted(self.uploads.items()))
            yield f"  uploads while the disk was full: {said}"
        yield f"  processes restarted though nobody killed them: {len(self.failures)}"
        yield f"  workers replaced by max_requests: {self.renewals}"
        if self.port_in_use:
            yield f"  starts that found the port still held by a killed master: {self.port_in_use}"
        yield f"  quiet {self.quiet_after:.1f} s after the last fault"
        yield from (f"  log: {n} x {event}" for event, n in self.log.most_common(12))
        yield from (f"  ! {sentence}" for sentence in _first(self.blemishes))
        yield from (f"  ! {sentence}" for sentence in self.audit.examples)
        yield f"  {'; '.join(self.faults_of_service) or 'the promise was kept'}"


def slowest(
    answers: Iterable[Answer], during: list[Entry] | None = None, but_for: Sequence[Entry] = ()
) -> Answer | None:
    """Return the answer that took longest, of those that were waited for during something.

    What a frozen process had taken on cannot be answered: `but_for` leaves it out.
    """
    found = [
        answer
        for answer in answers
        if answer.status
        and (during is None or _overlaps(answer, during))
        and not _overlaps(answer, but_for)
    ]
    return max(found, key=lambda answer: answer.seconds, default=None)


def refused_for_nothing(answers: Iterable[Answer], excuses: Sequence[Entry]) -> int:
    """Count the answers of 503 at times when nothing was wrong with the database."""
    longer = [entry._replace(ended=entry.ended + LONGEST_ANSWER) for entry in excuses]
    return sum(
        answer.status == HTTPStatus.SERVICE_UNAVAILABLE and not _overlaps(answer, longer)
        for answer in answers
    )


def server_errors(answers: Iterable[Answer]) -> list[str]:
    """Return the answers that no client should ever see."""
    return [
        f"{answer.method} {answer.path}: {answer.status} {answer.text[:200]}"
        for answer in answers
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        and answer.status != HTTPStatus.SERVICE_UNAVAILABLE
    ]


def _overlaps(answer: Answer, entries: Iterable[Entry]) -> bool:
    return any(answer.began < entry.ended and entry.began < answer.ended for entry in entries)


def _timed(answer: Answer | None) -> str:
    if answer is None:
        return "there was none"
    return f"{answer.seconds:.2f} s, {answer.status} for {answer.method} {answer.path}"


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "nothing was left to send"
    median = sorted(seconds)[len(seconds) // 2]
    return f"median {median:.1f} s, longest {max(seconds):.1f} s, of {len(seconds)}"


def _first(sentences: list[str], most: int = 12) -> list[str]:
    rest = len(sentences) - most
    return sentences[:most] + ([f"and {rest} more like these"] if rest > 0 else [])
