"""Prometheus metrics, summed over all processes on this machine.

Each process counts in files of a folder that all processes share (`share`): see `shared_counts`.
Without `share`, as in tests and single commands, a process counts only for itself.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from service import shared_counts

log = structlog.get_logger(__name__)

_NOTED = "crier_noted"
"""The key in a database session's `info` for counts that take effect when it commits."""

_SEND = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CLAIM = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 2.5, 10.0)

_DUE = "crier_loop_due"


class Meters:
    """All metrics of this process."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._lock: IO[str] | None = None
        self._attempts: deque[Mapping[str, list[float]]] = deque()
        self._make()

    def _make(self) -> None:
        """Create every metric with the current value class."""
        self.registry = registry = CollectorRegistry()
        self._deliveries = Counter(
            "crier_deliveries", "Deliveries that reached a status", ["channel", "status"],
            registry=registry,
        )  # fmt: skip
        self._rescued = Counter(
            "crier_rescued", "Deliveries recovered from dead processes: queued again or uncertain",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self._retries = Counter(
            "crier_retries", "Attempts after which a delivery was queued again", ["channel"],
            registry=registry,
        )  # fmt: skip
        self._send = Histogram(
            "crier_send_seconds", "Time of one attempt at a delivery with all its parts",
            ["channel"], buckets=_SEND, registry=registry,
        )  # fmt: skip
        self._skipped = Counter(
            "crier_reports_skipped", "Elements of webhooks that were skipped, and why",
            ["cause"], registry=registry,
        )  # fmt: skip
        self._claimed = Counter("crier_claimed_deliveries", "Deliveries claimed", registry=registry)
        self._claim = Histogram(
            "crier_claim_seconds", "Time of one claim of many deliveries",
            buckets=_CLAIM, registry=registry,
        )  # fmt: skip
        self._due = Gauge(
            _DUE, "Seconds by which a loop is overdue, in the worst process",
            ["loop"], multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self._connections = Gauge(
            "crier_database_connections_in_use", "Connections taken from the pools",
            multiprocess_mode="livesum", registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "crier_refusals", "Requests refused because of a limit of a client or an address",
            ["limit"], registry=registry,
        )  # fmt: skip
        self._requests = Counter(
            "crier_requests", "Requests answered", ["method", "route", "status"],
            registry=registry,
        )  # fmt: skip
        self._request = Histogram(
            "crier_request_seconds", "Time to answer a request", ["method", "route"],
            buckets=_REQUEST, registry=registry,
        )  # fmt: skip

    def share(self, folder: Path) -> None:
        """Count in files of a shared folder; call it once, after any fork.

        If that fails, for example on a full disk, the process counts only for itself.
        """
        token = secrets.token_hex(8)
        try:
            lock = shared_counts.join(folder, token)
        except OSError as error:
            log.warning("metrics are not shared", folder=str(folder), error=str(error))
            return
        self.folder, self._lock = folder, lock
        # The library's way to name files by something other than process ids, which are not
        # unique if containers share a folder.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: token)
        self._make()

    def note(
        self, info: MutableMapping[Any, Any], name: str, labels: tuple[str, ...], amount: int
    ) -> None:
        """Store an amount in the `info` of a database session, to count when it commits."""
        info.setdefault(_NOTED, Tally())[name, labels] += amount

    def commit(self, info: MutableMapping[Any, Any]) -> None:
        """Count the amounts noted in a database session that has committed."""
        counters = {"deliveries": self._deliveries, "rescued": self._rescued}
        for (name, labels), amount in info.pop(_NOTED, {}).items():
            counters[name].labels(*labels).inc(amount)

    def attempted(self, seconds: Mapping[str, list[float]]) -> None:
        """Record how long attempts took, by channel. It is cheap: see `tally`."""
        self._attempts.append(seconds)

    def retried(self, channel: str) -> None:
        """Count a delivery that is queued again."""
        self._retries.labels(channel).inc()

    def tally(self) -> None:
        """Count all recorded attempts at once: one by one, each would take 5 µs."""
        seconds: dict[str, list[float]] = {}
        with suppress(IndexError):
            while True:
                for channel, taken in self._attempts.popleft().items():
                    seconds.setdefault(channel, []).extend(taken)
        for channel, taken in seconds.items():
            _observe(self._send.labels(channel), _SEND, taken)

    def skipped(self, cause: str, elements: int) -> None:
        """Count elements of webhooks that had no effect."""
        if elements:
            self._skipped.labels(cause).inc(elements)

    def claimed(self, deliveries: int, seconds: float) -> None:
        """Count a claim and its deliveries."""
        self._claim.observe(seconds)
        self._claimed.inc(deliveries)

    def turn_due(self, loop: str, moment: float) -> None:
        """Record when the next turn of a loop is due, as a monotonic time; infinity: never."""
        self._due.labels(loop).set(moment)

    def connection_taken(self, *_: Any) -> None:
        """Count a connection taken from the pool; a listener for pool events."""
        self._connections.inc()

    def connection_returned(self, *_: Any) -> None:
        """Count a connection returned to the pool or discarded."""
        self._connections.dec()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is a URL rule, because paths are unbounded."""
        self._requests.labels(method, route, status).inc()
        self._request.labels(method, route).observe(seconds)

    def refused(self, limit: str) -> None:
        """Count a request that a limit refuses."""
        self._refused.labels(limit).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield the sums over all processes of this machine, as the client library reads them."""
        names = {metric.name for metric in self.registry.collect()}
        for metric in (
            self.registry.collect() if self.folder is None else shared_counts.sums(self.folder)
        ):
            if metric.name == _DUE:
                yield _lag(metric)
            elif metric.name in names:
                # Skip metrics of another version that no longer exist.
                yield metric


def _observe(histogram: Histogram, bounds: tuple[float, ...], seconds: list[float]) -> None:
    """Add many values to a histogram with one operation per bucket."""
    places = Tally(bisect_left(bounds, value) for value in seconds)
    for place, count in places.items():
        histogram._buckets[place].inc(count)  # noqa: SLF001 - there is no public way to add many
    histogram._sum.inc(sum(seconds))  # noqa: SLF001


def _lag(due: Metric) -> Metric:
    """Convert the times at which turns were due into the seconds since then."""
    lag = GaugeMetricFamily("crier_loop_lag_seconds", due.documentation, labels=["loop"])
    now = time.monotonic()
    for sample in due.samples:
        if sample.value < math.inf:
            lag.add_metric([sample.labels["loop"]], max(0.0, now - sample.value))
    return lag


meters = Meters()
"""The metrics of this process."""
