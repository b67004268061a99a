"""How long it takes to find a recipient, to report on a broadcast and to export it.

    python -m benchmarks.finding [--deliveries N] [--database sqlite|postgres]

One broadcast has half of all deliveries, a million at most, a tenth of them failed; the rest are in
broadcasts of 1,000. Everything is asked of the service in this process, on SQLite and on Postgres:
first while nothing is sent, then while a dispatcher of its own sends as fast as it can.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple

from flask.testing import FlaskClient
from sqlalchemy import text

from benchmarks import crier, limits, provider
from benchmarks.crier import Crier
from benchmarks.figures import Report
from benchmarks.rates import wait_for
from benchmarks.workspace import BenchmarkError, Workspace
from service import ids
from service.app import create_app
from service.database import Database, now_ms

_SMALL: Final = 1_000
_LARGE: Final = 1_000_000
_ASKED: Final = 100
_REPORTS: Final = 20
_BETWEEN: Final = 0.05
"""Seconds between two requests."""

_ALONE: Final = 4.0
_LONGEST: Final = 15.0
_BACKLOG: Final = 600_000
"""More than is sent in the time of a measurement."""

_FIRST: Final = 12_025_500_000

_BROADCAST = text("""
    INSERT INTO broadcasts (id, client_id, send_type, "to", to_truncated, message, content, parts,
        status, expires_at, closed_at, request_digest, revision, total, sent, delivered, read,
        failed, cancelled, uncertain, created_at, updated_at, version)
    VALUES (:id, :client_id, 'individual', '[]', TRUE, '{"text": "Hello"}', '{"media": []}', 1,
        'completed', 0, :now, '', 0, :total, :sent, 0, 0, :failed, 0, 0, :now, :now, 0)
""")
_ROWS = """
    INSERT INTO deliveries (id, broadcast_id, recipient, status, attempts, due_at, code, reason,
        message_ids, sent_at, updated_at)
    SELECT :head || {hex}, :id, CAST(:first + (n * 7919) % :people AS TEXT),
        CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'sent' END, 1, 0,
        CASE WHEN n % 10 = 0 THEN '13102' || (n / 10) % 7 END,
        CASE WHEN n % 10 = 0 THEN 'This number is not on WhatsApp.' END,
        'wamid.' || n, :now, :now
    FROM {numbers}
"""
_POSTGRES = text(
    _ROWS.format(
        hex="lpad(to_hex(n), 6, '0')",
        numbers="generate_series(CAST(:start AS bigint), CAST(:end AS bigint)) AS n",
    )
)
_SQLITE = text(
    _ROWS.format(
        hex="printf('%06x', n)",
        numbers="(WITH RECURSIVE c(n) AS (SELECT :start UNION ALL SELECT n + 1 FROM c"
        " WHERE n < :end) SELECT n FROM c)",
    )
)


def main() -> None:
    """Measure on both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"))
    options = parser.parse_args()
    limits.as_usual()
    with ExitStack() as stack:
        workspace = Workspace(stack)
        stub = stack.enter_context(provider.serving(workspace))
        for kind in crier.DATABASES:
            if options.database in {None, kind.lower()}:
                with crier.installed(workspace, kind, stub.url()) as service:
                    _measure(workspace, service, kind, options.deliveries)


def _measure(workspace: Workspace, service: Crier, kind: str, count: int) -> None:
    began = time.monotonic()
    large = _fill(service, count)
    print(f"{kind}, {count:,} deliveries, made in {time.monotonic() - began:.0f} s")
    app = create_app(replace(service.settings, log_level="WARNING"))
    http, headers = app.test_client(), {"Authorization": f"Bearer {service.token}"}
    asked = _Asked(http, headers, large, count)
    for ask in _KINDS.values():
        ask(asked)
    asked = asked._replace(longest=_LONGEST)
    report = Report()
    backlog = service.accept(_BACKLOG)
    with service.dispatching(workspace, GRACE="1"):
        service.resume(backlog)
        wait_for(lambda: service.ended(backlog)[0], 1)
        speed = _Speed(service, backlog)
        before = speed.alone()
        for name, ask in _KINDS.items():
            beside = speed.during(partial(ask, asked))
            after = speed.alone()
            alone = (before + after) / 2
            note = f"{beside:,.0f}/s beside it, {alone:,.0f}/s alone"
            report.add(f"{kind}, sending", name, beside / alone, "times", least=0.5, note=note)
            before = after
    app.extensions["crier"].database.dispose()


class _Speed:
    """How fast the backlog is sent."""

    def __init__(self, service: Crier, backlog: str) -> None:
        self._service = service
        self._backlog = backlog

    def alone(self) -> float:
        """Return how many are sent a second while nothing is asked."""
        return self.during(lambda: time.sleep(_ALONE))

    def during(self, work: Callable[[], None]) -> float:
        """Return how many are sent a second while something is done."""
        sent, began = self._service.ended(self._backlog)[0], time.perf_counter()
        work()
        return (self._service.ended(self._backlog)[0] - sent) / (time.perf_counter() - began)


class _Asked(NamedTuple):
    """Who asks about what: `people` may have deliveries, very many are in the broadcast `large`.

    An export is read for `longest` seconds.
    """

    http: FlaskClient
    headers: dict[str, str]
    large: str
    people: int
    longest: float = math.inf


def _fill(service: Crier, count: int) -> str:
    """Make deliveries of the client; return the id of its large broadcast."""
    database, client_id = service.database, service.client_id
    large, size = ids.new_broadcast(), min(_LARGE, count // 2)
    _add(database, client_id, large, size, count)
    for _ in range((count - size) // _SMALL):
        _add(database, client_id, ids.new_broadcast(), _SMALL, count)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as bare:
            bare.exec_driver_sql("SET statement_timeout = 0")
            bare.exec_driver_sql("VACUUM ANALYZE")
    return large


def _add(database: Database, client_id: str, broadcast_id: str, size: int, people: int) -> None:
    now, failed = now_ms(), size // 10
    first = _FIRST + random.randrange(people)  # noqa: S311 - a number, not a secret
    rows = _SQLITE if database.is_sqlite else _POSTGRES
    common = {"id": broadcast_id, "now": now}
    with database.writing() as db:
        counts = {"total": size, "sent": size - failed, "failed": failed}
        db.execute(_BROADCAST, common | counts | {"client_id": client_id})
    for start in range(1, size + 1, 20_000):
        end = min(size, start + 19_999)
        place = {"head": broadcast_id[:18], "start": start, "end": end}
        with database.writing_much() as db:
            db.execute(rows, common | place | {"first": first, "people": people})


def _search(asked: _Asked) -> None:
    seconds = []
    for _ in range(_ASKED):
        number = _FIRST + random.randrange(2 * asked.people)  # noqa: S311 - as above
        began = time.perf_counter()
        _get(asked, f"/delivery?recipient={number}")
        seconds.append(time.perf_counter() - began)
        time.sleep(_BETWEEN)
    seconds.sort()
    median, late = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
    print(f"  search: median {median * 1000:.1f} ms, p99 {late * 1000:.1f} ms")


def _report(asked: _Asked) -> None:
    seconds = []
    for _ in range(_REPORTS):
        began = time.perf_counter()
        _get(asked, f"/broadcast/{asked.large}/report")
        seconds.append(time.perf_counter() - began)
        time.sleep(_BETWEEN)
    print(f"  report: {statistics.median(seconds) * 1000:.1f} ms")


def _get(asked: _Asked, path: str) -> None:
    answer = asked.http.get(path, headers=asked.headers)
    if answer.status_code != HTTPStatus.OK:
        raise BenchmarkError(f"{path}: {answer.text}")


def _export(ending: str, asked: _Asked) -> None:
    path = f"/broadcast/{asked.large}/delivery.{ending}"
    before, began = _memory(), time.perf_counter()
    pieces = asked.http.get(path, headers=asked.headers).iter_encoded()
    size = len(next(pieces))
    first = time.perf_counter() - began
    for piece in pieces:
        size += len(piece)
        if time.perf_counter() > began + asked.longest:
            break
    seconds = time.perf_counter() - began
    print(
        f"  {ending}: first byte {first * 1000:.0f} ms, {size / 1e6:.0f} MB in {seconds:.1f} s,"
        f" memory +{_memory() - before:.0f} MB"
    )


_KINDS: Final[dict[str, Callable[[_Asked], None]]] = {
    "beside 20 searches a second": _search,
    "beside reports": _report,
    **{f"beside an export as {each}": partial(_export, each) for each in ("csv", "ndjson", "xlsx")},
}


def _memory() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
