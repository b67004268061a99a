"""How long it takes to find a recipient, to report on a broadcast and to export it.

    python -m benchmarks.finding [--deliveries N] [--database sqlite|postgres]

One broadcast has half of all deliveries, a tenth of them failed; the rest are in broadcasts of
1,000. Everything is asked of the service in this process, on SQLite and on Postgres.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import time
from contextlib import ExitStack
from http import HTTPStatus
from typing import Final

from alembic import command
from alembic.config import Config
from flask.testing import FlaskClient
from sqlalchemy import text

from benchmarks.workspace import ROOT, BenchmarkError, Workspace
from service import ids
from service.app import create_app
from service.config import Settings
from service.core import clients, tokens
from service.core.tokens import Scope
from service.database import Database, now_ms

_SMALL: Final = 1_000
_ASKED: Final = 200
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
    with ExitStack() as stack:
        workspace = Workspace(stack)
        with workspace.new_database() as url:
            if options.database != "postgres":
                _measure(Settings(data_dir=workspace.new_folder()), options.deliveries)
            if options.database != "sqlite":
                _measure(_postgres(workspace, url), options.deliveries)


def _postgres(workspace: Workspace, url: str) -> Settings:
    return Settings(data_dir=workspace.new_folder(), database_url=url)


def _measure(settings: Settings, count: int) -> None:
    app = create_app(settings)
    database: Database = app.extensions["crier"].database
    config = Config(ROOT / "alembic.ini")
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    began = time.monotonic()
    token, large = _fill(database, count)
    kind = "SQLite" if database.is_sqlite else "Postgres"
    print(f"{kind}, {count:,} deliveries, made in {time.monotonic() - began:.0f} s")
    http = app.test_client()
    headers = {"Authorization": f"Bearer {token}"}
    _search(http, headers, count)
    _ask(http, headers, f"/broadcast/{large}/report", "report")
    for ending in ("csv", "ndjson", "xlsx"):
        _export(http, headers, f"/broadcast/{large}/delivery.{ending}", count // 2)
    database.dispose()


def _fill(database: Database, count: int) -> tuple[str, str]:
    """Make a client with deliveries; return its token and the id of its large broadcast."""
    with database.writing() as db:
        client = clients.create(db, "Acme")
        _, token = tokens.create(db, client.id, "bench", [Scope.READ], None)
    large, half = ids.new_broadcast(), count // 2
    _add(database, client.id, large, half, count)
    for _ in range(half // _SMALL):
        _add(database, client.id, ids.new_broadcast(), _SMALL, count)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as bare:
            bare.exec_driver_sql("SET statement_timeout = 0")
            bare.exec_driver_sql("VACUUM ANALYZE")
    return token, large


def _add(database: Database, client_id: str, broadcast_id: str, size: int, people: int) -> None:
    now, failed = now_ms(), size // 10
    first = _FIRST + random.randrange(people)  # noqa: S311 - a number, not a secret
    rows = _SQLITE if database.is_sqlite else _POSTGRES
    common = {"id": broadcast_id, "now": now}
    with database.writing() as db:
        counts = {"total": size, "sent": size - failed, "failed": failed}
        db.execute(_BROADCAST, common | counts | {"client_id": client_id})
    for start in range(1, size + 1, 50_000):
        end = min(size, start + 49_999)
        place = {"head": broadcast_id[:18], "start": start, "end": end}
        with database.writing() as db:
            db.execute(rows, common | place | {"first": first, "people": people})


def _search(http: FlaskClient, headers: dict[str, str], people: int) -> None:
    seconds = []
    for _ in range(_ASKED):
        number = _FIRST + random.randrange(2 * people)  # noqa: S311 - as above
        began = time.perf_counter()
        _get(http, headers, f"/delivery?recipient={number}")
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    median, late = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
    print(f"  search: median {median * 1000:.1f} ms, p99 {late * 1000:.1f} ms")


def _ask(http: FlaskClient, headers: dict[str, str], path: str, what: str) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        _get(http, headers, path)
        seconds.append(time.perf_counter() - began)
    print(f"  {what}: {statistics.median(seconds) * 1000:.1f} ms")


def _get(http: FlaskClient, headers: dict[str, str], path: str) -> None:
    answer = http.get(path, headers=headers)
    if answer.status_code != HTTPStatus.OK:
        raise BenchmarkError(f"{path}: {answer.text}")


def _export(http: FlaskClient, headers: dict[str, str], path: str, rows: int) -> None:
    before, began = _memory(), time.perf_counter()
    pieces = http.get(path, headers=headers).iter_encoded()
    size = len(next(pieces))
    first = time.perf_counter() - began
    for piece in pieces:
        size += len(piece)
    seconds = time.perf_counter() - began
    print(
        f"  {path.rpartition('.')[2]} of {rows:,}: first byte {first * 1000:.0f} ms,"
        f" {seconds:.1f} s, {size / 1e6:.0f} MB, memory +{_memory() - before:.0f} MB"
    )


def _memory() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
