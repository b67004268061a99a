"""Metrics: what this process has done and is doing, added up with its neighbours on this machine.

Each process counts in memory-mapped files of its own, in a folder that all of them share
(`share`). A lock on a file tells whether the process behind a set of files still lives; what a dead
one had counted moves into a common past, so that a sum never falls when a worker or a dispatcher is
replaced. Before `share`, as in tests and single commands, a process counts for itself alone.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import struct
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

log = structlog.get_logger(__name__)

_NOTED = "crier_noted"
"""The place in a database session's `info` for what counts once the session has committed."""

_SEND = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CLAIM = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 2.5, 10.0)

_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemin")
_KEPT = ("counter", "histogram")
"""The kinds that outlive their process; a gauge is about one that lives."""

_FILE = 512 * 1024
"""Bytes of one file: several times what all labels together take, for all of them are bounded.

They are allocated at once. A mapped file that has to grow on a full disk ends its process by
SIGBUS.
"""

_DUE = "crier_loop_due"
_BROKEN = (RuntimeError, struct.error, ValueError)
"""What a file raises that a power cut has left half written."""


class Meters:
    """All that is counted, for the process that it is made in."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._lock: IO[str] | None = None
        self._attempts: deque[Mapping[str, list[float]]] = deque()
        self._make()

    def _make(self) -> None:
        """Make every meter anew, of whatever class of value is in force."""
        self.registry = registry = CollectorRegistry()
        self._deliveries = Counter(
            "crier_deliveries", "Deliveries that came to a state", ["channel", "status"],
            registry=registry,
        )  # fmt: skip
        self._rescued = Counter(
            "crier_rescued", "Deliveries taken back from processes that died: sent again or held",
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
            "crier_claim_seconds", "Time of one claim, which takes many deliveries",
            buckets=_CLAIM, registry=registry,
        )  # fmt: skip
        self._due = Gauge(
            _DUE, "Seconds by which the turn of a loop is late or long, in the worst process",
            ["loop"], multiprocess_mode="livemin", registry=registry,
        )  # fmt: skip
        self._connections = Gauge(
            "crier_database_connections_in_use", "Connections taken from the pools",
            multiprocess_mode="livesum", registry=registry,
        )  # fmt: skip
        self._requests = Counter(
            "crier_requests", "Requests answered", ["method", "route", "status"],
            registry=registry,
        )  # fmt: skip
        self._request = Histogram(
            "crier_request_seconds", "Time to an answer", ["method", "route"],
            buckets=_REQUEST, registry=registry,
        )  # fmt: skip

    def share(self, folder: Path) -> None:
        """Count in files of a folder from now on; call it once, after any fork.

        Where that cannot be, as on a full disk, the process goes on counting for itself.
        """
        token = secrets.token_hex(8)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder):
                lock = _announce(folder, token)
                _discard_broken(folder)
        except OSError as error:
            log.warning("metrics are not shared", folder=str(folder), error=str(error))
            return
        self.folder, self._lock = folder, lock
        # The library's own way to name the files otherwise than by process ids, which are not
        # unique where containers share a folder.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: token)
        self._make()

    def note(
        self, info: MutableMapping[Any, Any], name: str, labels: tuple[str, ...], amount: int
    ) -> None:
        """Keep an amount in the `info` of a database session, to be counted when it commits."""
        info.setdefault(_NOTED, Tally())[name, labels] += amount

    def commit(self, info: MutableMapping[Any, Any]) -> None:
        """Count what was noted in a database session that has committed."""
        counters = {"deliveries": self._deliveries, "rescued": self._rescued}
        for (name, labels), amount in info.pop(_NOTED, {}).items():
            counters[name].labels(*labels).inc(amount)

    def attempted(self, seconds: Mapping[str, list[float]]) -> None:
        """Take note of how long attempts took, by channel. Cheap: see `tally`."""
        self._attempts.append(seconds)

    def retried(self, channel: str) -> None:
        """Count an attempt after which a delivery is queued again."""
        self._retries.labels(channel).inc()

    def tally(self) -> None:
        """Count the attempts noted so far, all at once: one by one would take 5 µs each."""
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
        """Count a claim of so many deliveries."""
        self._claim.observe(seconds)
        self._claimed.inc(deliveries)

    def turn_due(self, loop: str, moment: float) -> None:
        """Say when the next turn of a loop is due, by the monotonic clock; infinity: never."""
        self._due.labels(loop).set(moment)

    def connection_taken(self, *_: Any) -> None:
        """Count a connection that left the pool; fits the pool's own events."""
        self._connections.inc()

    def connection_returned(self, *_: Any) -> None:
        """Count a connection that came back to the pool, or left it for good."""
        self._connections.dec()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is a rule and never a path, of which there is no end."""
        self._requests.labels(method, route, status).inc()
        self._request.labels(method, route).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the sums over all processes of this machine, as the client library reads them."""
        names = {metric.name for metric in self.registry.collect()}
        for metric in self.registry.collect() if self.folder is None else _sums(self.folder):
            if metric.name == _DUE:
                yield _lag(metric)
            elif metric.name in names:
                # What another version has counted under a name that is no more is left out.
                yield metric


def _observe(histogram: Histogram, bounds: tuple[float, ...], seconds: list[float]) -> None:
    """Put many values into a histogram at the price of one for each bucket."""
    places = Tally(bisect_left(bounds, value) for value in seconds)
    for place, count in places.items():
        histogram._buckets[place].inc(count)  # noqa: SLF001 - it has no other way for many
    histogram._sum.inc(sum(seconds))  # noqa: SLF001


def _lag(due: Metric) -> Metric:
    """Turn the moments at which turns were due into the seconds since then."""
    lag = GaugeMetricFamily("crier_loop_lag_seconds", due.documentation, labels=["loop"])
    now = time.monotonic()
    for sample in due.samples:
        if sample.value < math.inf:
            lag.add_metric([sample.labels["loop"]], max(0.0, now - sample.value))
    return lag


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep all others from entering, leaving or adding up until the end of the block."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _announce(folder: Path, token: str) -> IO[str]:
    """Make the files of a process, and the lock that lasts as long as it lives."""
    alive = folder / f"{token}.alive"
    lock = alive.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for kind in _KINDS:
            _allocate(folder / f"{kind}_{token}.db", _FILE)
    except OSError:
        lock.close()
        _bury(folder, alive)
        raise
    return lock


def _allocate(path: Path, size: int) -> None:
    """Fill a new file with zeros, all of it or nothing."""
    try:
        path.write_bytes(bytes(size))
    except OSError:
        path.unlink()
        raise


def _sums(folder: Path) -> Iterable[Metric]:
    with _alone(folder):
        for announced in folder.glob("*.alive"):
            if not _lives(announced):
                # Where the past has no room, on a full disk, the files stay and go on counting.
                with suppress(OSError):
                    _bury(folder, announced)
        merged: Iterable[Metric] = MultiProcessCollector.merge(map(str, folder.glob("*.db")))
        return merged


def _lives(announced: Path) -> bool:
    """Tell whether the process behind a file holds its lock: the kernel drops it at any death."""
    with announced.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _bury(folder: Path, announced: Path) -> None:
    """Add what a dead process has counted to the past, and remove its files."""
    for kind in _KINDS:
        path = folder / f"{kind}_{announced.stem}.db"
        if kind in _KEPT and path.exists():
            with suppress(*_BROKEN):
                _add(folder / f"{kind}_past.db", path)
        path.unlink(missing_ok=True)
    announced.unlink()


def _add(total: Path, part: Path) -> None:
    if not total.exists():
        _allocate(total, 4 * _FILE)
    past = MmapedDict(str(total))
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(part)):
            past.write_value(key, past.read_value(key)[0] + value, 0.0)
    finally:
        past.close()


def _discard_broken(folder: Path) -> None:
    """Remove the past where a power cut left it unreadable."""
    for kind in _KEPT:
        path = folder / f"{kind}_past.db"
        try:
            if path.exists():
                list(MmapedDict.read_all_values_from_file(str(path)))
        except _BROKEN:
            log.warning("what earlier processes counted is not readable", file=path.name)
            path.unlink()


meters = Meters()
"""The meters of this process."""
