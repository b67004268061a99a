"""Previews: what a broadcast would do. It is planned like an accepted one, but not stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session as Db

from service.channels.content import Part
from service.channels.registry import Channels
from service.core import costs, daily_limits, estimates, intake, numbers, schedules, service_windows
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.costs import Cost
from service.core.deliveries.obstacles import unreachable
from service.core.estimates import Estimate
from service.core.fallbacks import StepPlan
from service.core.intake import Plan
from service.core.schedules import Crowd
from service.errors import InvalidError
from service.models import COUNTED, ClientOptOut, OptOut

SHOWN: Final = 5
"""How many recipients' messages are shown."""

_ROUNDS: Final = 5
"""How often invalid recipients are taken out before a list is refused as a whole."""


class Message(NamedTuple):
    """What one recipient would get."""

    recipient: str
    variables: Mapping[str, str]
    parts: tuple[Part, ...]


class Invalid(NamedTuple):
    """An entry of `to` to which nothing is sent: its position from 0, and the reason."""

    position: int
    reason: str


class Segments(NamedTuple):
    """How many SMS the texts take: in all, and at most for one recipient."""

    total: int
    most: int


class Window(NamedTuple):
    """How many people are inside the service window, and how many get the template."""

    inside: int
    outside: int


class WayPreview(NamedTuple):
    """What a step of the fallback would do for people whom earlier ways do not reach.

    `recipients` and `cost` are for the worst case, in which earlier ways reach nobody.
    """

    session_id: str
    after: str
    minutes: int | None
    parts: int
    recipients: int
    skipped: int
    messages: Sequence[Message]
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a broadcast would do."""

    plan: Plan
    entries: int
    recipients: int
    duplicates: int
    invalid: Sequence[Invalid]
    opted_out: Sequence[str]
    countries: Mapping[str, int]
    segments: Segments | None
    begins_at: int | None
    estimate: Estimate
    messages: Sequence[Message]
    cost: Cost | None
    window: Window | None = None
    fallback: Sequence[WayPreview] = ()


def make(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> Preview:
    """Preview a broadcast; its invalid recipients are reported and left out.

    Raises InvalidError for every other error of the request, and UnknownSessionError.
    """
    plan, invalid = _without_invalid(db, client_id, order, accounts=accounts, now=now)
    for name in COUNTED:
        setattr(plan.broadcast, name, 0)
    opted_out = _opted_out(db, plan)
    people = plan.people.unique
    places = [place for place, recipient in enumerate(people) if recipient not in opted_out]
    sizes = [size for _, size in _sizes(plan, places)] if costs.counts_segments(plan.driver) else []
    fallback = [_way(db, plan, step, accounts.channels) for step in plan.steps]
    prices = plan.session.prices
    crowds = _crowds(db, plan, [people[place] for place in places], now)
    return Preview(
        plan=plan,
        entries=order.people.count,
        recipients=len(places),
        duplicates=order.people.duplicates,
        invalid=invalid,
        opted_out=[each for each in people if each in opted_out],
        countries=numbers.countries([people[place] for place in places]),
        segments=Segments(sum(sizes), max(sizes)) if sizes else None,
        begins_at=estimates.beginning(plan.broadcast, plan.session, crowds, now),
        estimate=estimates.make(db, plan.broadcast, 0.0, crowds=crowds, now=now),
        messages=[*messages(plan, places[:SHOWN])],
        cost=_cost(prices, _sizes(plan, places)) if prices else None,
        window=_window(db, plan, [people[place] for place in places], now),
        fallback=fallback,
    )


def _way(db: Db, plan: Plan, step: StepPlan, channels: Channels) -> WayPreview:
    """Preview a step for everybody to whom it could send."""
    fitted, people = step.fitted, plan.people.unique
    mine = replace(plan, session=fitted.session, driver=fitted.driver, worded=fitted.worded)
    out = _opted_out(db, mine)
    places = [
        place
        for place, recipient in enumerate(people)
        if recipient not in out and not unreachable(channels, fitted.session.channel, recipient)
    ]
    prices = fitted.session.prices
    return WayPreview(
        fitted.session.id,
        step.step.after,
        step.step.minutes,
        len(fitted.worded.parts),
        len(places),
        len(people) - len(places),
        [*messages(mine, places[:SHOWN])],
        _cost(prices, _sizes(mine, places)) if prices else None,
    )


def _crowds(db: Db, plan: Plan, people: Sequence[str], now: int) -> list[Crowd]:
    """Return the recipients, grouped by the hours in which they may be written to."""
    limit = daily_limits.of(plan.session)
    counted = daily_limits.recipients(db, limit, now=now) if limit else ()
    return schedules.crowds((plan.broadcast.window, plan.session.window), people, counted)


def _window(db: Db, plan: Plan, people: Sequence[str], now: int) -> Window | None:
    """Count the people inside the service window; None if the message does not depend on it."""
    template = plan.broadcast.content["template"]
    if not template or template.get("when") != service_windows.OUTSIDE:
        return None
    count = len(service_windows.inside(db, plan.session.id, people, now=now))
    return Window(count, len(people) - count)


def _without_invalid(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> tuple[Plan, list[Invalid]]:
    """Plan a broadcast to the valid recipients, and return the invalid entries."""
    order, invalid = _without_bad(order)
    for _ in range(_ROUNDS):
        try:
            plan = intake.prepare(db, client_id, order, accounts=accounts, now=now)
        except InvalidError as error:
            found = _entries(error, order.people.source.field)
            order = replace(order, people=order.people.without({each.position for each in found}))
            if not order.people.unique:
                raise
            invalid += found
        else:
            return plan, sorted(invalid)
    return intake.prepare(db, client_id, order, accounts=accounts, now=now), sorted(invalid)


def _without_bad(order: BroadcastRequest) -> tuple[BroadcastRequest, list[Invalid]]:
    """Take unreadable entries out of a request, unless all are unreadable, or too many."""
    people = order.people
    if not people.unique or people.bad_count > len(people.bad):
        return order, []
    place = people.source.place
    bad = [
        Invalid(each.position, f"{place(each.position)}{each.entry!r} {each.reason}.")
        for each in people.bad
    ]
    return replace(order, people=replace(people, bad=(), bad_count=0)), bad


def _entries(error: InvalidError, field: str) -> list[Invalid]:
    """Return the entries that an error is about; raises it again if it is about anything else."""
    found = []
    for name, reasons in error.errors.items():
        source, _, position = name.rpartition(".")
        if source != field or not position.isdecimal():
            raise error
        found.append(Invalid(int(position), " ".join(map(str, reasons))))
    return found


def _opted_out(db: Db, plan: Plan) -> set[str]:
    """Return everybody who has opted out of messages from the session, or from the client."""
    session = plan.session
    of_session = select(OptOut.recipient).where(OptOut.session_id == session.id)
    of_client = select(ClientOptOut.recipient).where(ClientOptOut.client_id == session.client_id)
    return set(db.scalars(union_all(of_session, of_client)))


def messages(plan: Plan, places: Iterable[int]) -> Iterator[Message]:
    """Yield the messages of the recipients at these places."""
    brought, worded = plan.people.variables, plan.worded
    for place in places:
        recipient = plan.people.unique[place]
        values = brought.of(place) if brought else {}
        parts = (worded.part(number, values, recipient) for number in range(len(worded.parts)))
        yield Message(recipient, values, tuple(parts))


def _sizes(plan: Plan, places: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield how many messages the provider counts, for the recipients at these places."""
    if plan.worded.is_personal and costs.counts_segments(plan.driver):
        for message in messages(plan, places):
            yield message.recipient, costs.size(plan.driver, message.parts)
    else:
        same = costs.size(plan.driver, plan.worded.parts)
        for place in places:
            yield plan.people.unique[place], same


def _cost(prices: Mapping[str, Any], sizes: Iterable[tuple[str, int]]) -> Cost:
    """Add up the prices of what the provider counts, by the countries of the recipients."""
    units: Counter[str] = Counter()
    people: Counter[str] = Counter()
    for recipient, size in sizes:
        country = costs.country(recipient)
        units[country] += size
        people[country] += 1
    return costs.add_up(prices, units, people)
