"""The plan: what is sent and what is broken when, all of it following from a seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

FIRST_NUMBER = 2_348_030_000_000
"""Recipients are numbered from here: a Nigerian mobile range of ten million."""

_SIZES = ((1, 6), (10, 5), (100, 5), (400, 4), (1_500, 2), (4_000, 1))
"""Recipients of a broadcast, and how often that many."""


_BUSY = 0.6
"""Part of all that may be under way which the traffic takes, so that a kill always hits some."""

_HEADROOM = 3.0
"""The rate of a paced session, as a multiple of what it has to send on average: after a clock was
ahead it waits until the right one has come as far, and has to catch up."""

_LONGEST_LATENCY = 0.5
_PARTS = 1.25
"""Messages per delivery, on average."""

_FEWEST_ORDERS = 25
"""So many orders even a small run has, that all sessions get their share."""

_LONGEST_ORDER = 2.0
"""Seconds of the plan that one order may cover: until the next there may be nothing to send."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A session: what it promises, how slow its provider is, and its share of all orders.

    `slowness` is how long a message takes, beside the others; `paced`: it has a rate; `calls`: its
    provider is the stub, called by the driver of the Cloud API, and not the sandbox.
    """

    name: str
    share: int
    slowness: float
    idempotent: bool = True
    on_uncertain: str = "hold"
    paced: bool = False
    calls: bool = False

    def fields(
        self, latency: float, rate: float, max_attempts: int, provider_url: str
    ) -> dict[str, Any]:
        """Return what `POST /session` wants.

        `latency` in seconds for a slowness of 1, `rate` in messages a second for a share of 1.
        """
        seconds = latency * self.slowness
        account = {
            "phone_number_id": "1",
            "access_token": "t",
            "base_url": f"{provider_url}/{seconds * 1000:.0f}ms",
        }
        sandbox = {"idempotent": self.idempotent, "latency": seconds}
        return {
            "name": self.name,
            "channel": "whatsapp_cloud" if self.calls else "sandbox",
            "settings": account if self.calls else sandbox,
            "on_uncertain": self.on_uncertain,
            "rate": rate * self.share if self.paced else None,
            "max_attempts": max_attempts,
        }


CHANNELS = {
    "idempotent": (
        Channel("fast", 2, 0.0),
        Channel("paced", 1, 0.0, paced=True),
        Channel("slow", 3, 1.0),
    ),
    "resend": (Channel("resend", 1, 1.0, idempotent=False, on_uncertain="resend"),),
    "hold": (Channel("hold", 1, 1.0, idempotent=False),),
    "cloud": (Channel("cloud", 1, 1.0, idempotent=False, calls=True),),
}
"""The kinds of channel that a run may have, and the sessions that stand for each."""

FAULTS = {
    "kill": (2.0, 4.0),
    "ledger": (6.0, 12.0),
    "stop": (12.0, 20.0),
    "term": (12.0, 20.0),
    "postgres": (5.0, 40.0),
    "cut": (4.0, 12.0),
    "silent": (10.0, 40.0),
    "disk": (25.0, 40.0),
    "clock": (6.0, 12.0),
    "migrate": (8.0, 16.0),
}
"""The faults, and how many seconds lie between two of a kind."""

ON_SERVER = frozenset({"postgres", "cut", "silent"})
"""The faults of a database server; SQLite has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run; times in seconds.

    `faults` are as in FAULTS, `away` is how long Postgres is gone or silent, `step` how far a
    clock is set forward or back and `wrong` how long it stays so.
    """

    database: str = "sqlite"
    engine: str = "threads"
    seconds: float = 240.0
    deliveries: int = 100_000
    faults: Mapping[str, tuple[float, float]] = field(default_factory=lambda: FAULTS)
    away: tuple[float, float] = (0.3, 8.0)
    step: tuple[float, float] = (2.0, 60.0)
    wrong: tuple[float, float] = (2.0, 6.0)
    channels: tuple[str, ...] = tuple(CHANNELS)
    seed: int = 1
    lease: float = 5.0
    grace: float = 5.0
    sweep_interval: float = 1.0
    patience: float = 180.0
    in_flight: int = 16
    flush_batch: int = 100
    workers: int = 2
    dispatchers: int = 2

    @property
    def senders(self) -> int:
        """Return how many processes there are that do nothing but send.

        With the engine `procrastinate` web workers do not send: others stand in for them.
        """
        return self.dispatchers + (self.workers if self.engine == "procrastinate" else 0)

    @property
    def sessions(self) -> tuple[Channel, ...]:
        """Return the sessions that orders are sent through."""
        return tuple(itertools.chain.from_iterable(CHANNELS[name] for name in self.channels))

    @property
    def latency(self) -> float:
        """Return the seconds a message of a slow session takes, for enough to be under way."""
        slow = sum(session.share * session.slowness for session in self.sessions) / self._shares
        most = self.in_flight * (self.workers + self.dispatchers)
        return min(_LONGEST_LATENCY, _BUSY * most / (self._messages * slow)) if slow else 0.0

    @property
    def spares_ledgers(self) -> bool:
        """Tell whether nothing but kills happens: then only what was under way is uncertain."""
        return set(self.faults) == {"kill"}

    @property
    def rate(self) -> float:
        """Return the messages a second that a paced session may send for a share of 1."""
        return _HEADROOM * self._messages / self._shares

    @property
    def _shares(self) -> int:
        return sum(session.share for session in self.sessions)

    @property
    def _messages(self) -> float:
        """Return how many messages a second there are on average."""
        return self.deliveries / self.seconds * _PARTS

    def random(self, purpose: str) -> Random:
        """Return a source of chance that is the same in every run with this seed."""
        return Random(f"{self.seed}/{purpose}")  # noqa: S311 - it has to be foreseeable

    def pauses(self, fault: str, chance: Random) -> Iterator[float]:
        """Yield the seconds to wait before each fault of a kind."""
        while True:
            yield chance.uniform(*self.faults[fault])


@dataclass(frozen=True, slots=True)
class Order:
    """One broadcast to be posted `due` seconds after the start; its recipients are nobody else's.

    `first` is the place of its first recipient among all of the run.
    """

    number: int
    due: float
    session: str
    first: int
    size: int
    parts: int

    @property
    def recipients(self) -> range:
        """Return the numbers to reach."""
        return range(FIRST_NUMBER + self.first, FIRST_NUMBER + self.first + self.size)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of its parts as the sandbox calls them."""
        return ("text", "location")[: self.parts]

    def body(self, session_id: str) -> dict[str, Any]:
        """Return what `POST /broadcast` wants."""
        message: dict[str, Any] = {"text": f"chaos {self.number}"}
        if self.parts > 1:
            message["location"] = {"lat": "6.556452", "lng": "3.2774487"}
        to = ",".join(map(str, self.recipients))
        return {"session_id": session_id, "send_type": "individual", "to": to, "message": message}


def orders(plan: Plan) -> list[Order]:
    """Return the orders of a run: together `plan.deliveries`, spread over its time."""
    chance = plan.random("orders")
    sent = dict.fromkeys(plan.sessions, 0)
    made, first = [], 0
    for number, size in enumerate(_sizes(plan, chance)):
        due = plan.seconds * first / plan.deliveries
        session = min(sent, key=lambda each: sent[each] / each.share)
        made.append(Order(number, due, session.name, first, size, chance.choice((1, 1, 1, 2))))
        sent[session] += size
        first += size
    return made


def _sizes(plan: Plan, chance: Random) -> Iterator[int]:
    values, weights = zip(*_SIZES, strict=True)
    covered = round(plan.deliveries / plan.seconds * _LONGEST_ORDER)
    most, left = max(1, min(plan.deliveries // _FEWEST_ORDERS, covered)), plan.deliveries
    while left > 0:
        [size] = chance.choices(values, weights)
        yield min(size, most, left)
        left -= min(size, most)
