"""Sessions side by side: what one that never answers, or a fast one, leaves to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import crier
from benchmarks.crier import Crier
from benchmarks.figures import Report
from benchmarks.provider import Provider, noting
from benchmarks.rates import wait_for
from benchmarks.workspace import Workspace
from service.dispatch.sending.pacing import MARGIN

BESIDE = "A session beside one that never answers, of what it sends alone, Postgres, 1 process"
SLOW = "Cloud API, 200 ms"
TWO_PARTS = "Cloud API, 200 ms, two parts each"
WAHA = "WAHA"
PACED = "A session of 40 messages a second beside one of 300 ms that takes all there is"
SLOTS = "part of its slots that were used"
MOST = "most messages within a second, of its rate"

CROWD = "A client's 1,000 messages at 20 ms beside a client with 3,000 broadcasts of 20, 1 process"
SHARE = "{}: speed, of what it is alone"
FIRST = "{}: time to its first message"

_RATE = 40.0
_WAVE = 0.4
"""Seconds of two parts of 200 ms. Whatever is under way ends together: only whole waves count."""

_SETTLED = 2.0
"""Seconds after which whoever takes room from a neighbour has taken it."""

_MOST = {"": 30_000, "200ms": 3_000}
"""More than is sent a second at a pace."""

_OF_THE_SILENT, _OF_THE_GREEDY = 10_000, 40_000
"""More than can be under way, and more than is sent in the time of a measurement."""


_MESSAGES = 1_000
_BROADCASTS, _OF_EACH = 3_000, 20


class _Case(NamedTuple):
    """A channel, how fast its provider answers, and how many messages a delivery takes."""

    name: str
    channel: str
    pace: str
    parts: int = 1


_CASES = (
    _Case("Cloud API", "whatsapp_cloud", ""),
    _Case(SLOW, "whatsapp_cloud", "200ms"),
    _Case(TWO_PARTS, "whatsapp_cloud", "200ms", parts=2),
    _Case(WAHA, "waha", ""),
)


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure what is left to a session beside another one."""
    seconds = _WAVE * (10 if quick else 20)
    for case in _CASES:
        alone, beside = _beside(workspace, provider, case, seconds)
        note = f"{beside:,.0f}/s beside it, {alone:,.0f}/s alone"
        report.add(BESIDE, case.name, beside / alone, "times", least=0.95, note=note)
    _paced(workspace, provider, report, 2 * seconds)
    for database in crier.DATABASES:
        _crowded(workspace, provider, report, database)


def _beside(
    workspace: Workspace, provider: Provider, case: _Case, seconds: float
) -> tuple[float, float]:
    """Return what a session sends a second alone, then beside one that never answers."""
    with crier.installed(workspace, "Postgres", provider.url(case.pace)) as service:
        healthy = service.session(provider.url(case.pace), channel=case.channel)
        silent = service.session(provider.url("never"), channel=case.channel)
        total = int(_MOST[case.pace] * 2 * (seconds + _SETTLED))
        broadcasts = [
            service.accept(total, healthy, case.parts),
            service.accept(_OF_THE_SILENT, silent, case.parts),
        ]
        with service.dispatching(workspace, GRACE="1"):
            service.resume(broadcasts[0])
            alone = _rate(service, broadcasts[0], seconds)
            service.resume(broadcasts[1])
            return alone, _rate(service, broadcasts[0], seconds)


def _rate(service: Crier, broadcast_id: str, seconds: float) -> float:
    """Return how many are sent a second, once all goes its way."""
    wait_for(lambda: service.ended(broadcast_id)[0], 1)
    time.sleep(_SETTLED)
    before, began = service.ended(broadcast_id)[0], time.perf_counter()
    time.sleep(seconds)
    return (service.ended(broadcast_id)[0] - before) / (time.perf_counter() - began)


def _paced(workspace: Workspace, provider: Provider, report: Report, seconds: float) -> None:
    with (
        noting(workspace.new_folder()) as (url, received),
        crier.installed(workspace, "Postgres", url, rate=_RATE) as service,
    ):
        greedy = service.session(provider.url("300ms"))
        broadcasts = [
            service.accept(_OF_THE_GREEDY, greedy),
            service.accept(int(_RATE * seconds * 2)),
        ]
        with service.dispatching(workspace, GRACE="1"):
            for broadcast_id in broadcasts:
                service.resume(broadcast_id)
            wait_for(lambda: len(received.moments()), 1)
            time.sleep(_SETTLED)
            began = time.monotonic()
            time.sleep(seconds)
            moments = [each for each in received.moments() if each >= began]
            reached = sum(each < began + seconds for each in moments)
            beside = service.ended(broadcasts[0])[0]
    expected = _RATE * MARGIN * seconds
    note = f"{reached} of {expected:.0f}; the other one sent {beside:,} meanwhile"
    report.add(PACED, SLOTS, reached / expected, "times", least=0.97, note=note)
    most = most_in_a_second(moments)
    # On its way a message may be overtaken by the end of the second that it was sent in.
    limit, note = (_RATE + 1) / _RATE, f"{most} of {_RATE:.0f}"
    report.add(PACED, MOST, most / _RATE, "times", most=limit, note=note)


def _crowded(workspace: Workspace, provider: Provider, report: Report, database: str) -> None:
    """Measure a client's broadcast alone, then beside a client with thousands of them."""
    with crier.installed(workspace, database, provider.url("20ms")) as service:
        mine = service.session(provider.url("20ms"))
        with service.dispatching(workspace, GRACE="1"):
            _, alone = _times(service, mine)
            with service.as_another_client():
                others = service.session(provider.url("20ms"))
                before = service.sent()
                service.flood(_BROADCASTS, _OF_EACH, others)
            wait_for(service.sent, before + 10 * _OF_EACH)
            first, beside = _times(service, mine)
    note = f"{beside:.1f} s beside it, {alone:.1f} s alone"
    report.add(CROWD, SHARE.format(database), alone / beside, "times", least=0.4, note=note)
    report.add(CROWD, FIRST.format(database), first, "s", most=2.0)


def _times(service: Crier, session_id: str) -> tuple[float, float]:
    """Send a broadcast; return the seconds until its first message and until its last one."""
    began = time.perf_counter()
    broadcast_id = service.send(_MESSAGES, session_id)
    wait_for(lambda: service.ended(broadcast_id)[0], 1)
    first = time.perf_counter() - began
    wait_for(lambda: service.ended(broadcast_id)[0], _MESSAGES)
    return first, time.perf_counter() - began


def most_in_a_second(moments: Sequence[float]) -> int:
    """Return how many of some moments, in their order, lie within one second at most."""
    first = most = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
