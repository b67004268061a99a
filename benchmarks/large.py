"""Large broadcasts: taken in, read, and dispatched, on one installation per database."""

from __future__ import annotations

from benchmarks import crier, endurance, intake, reading
from benchmarks.api import Api
from benchmarks.figures import Report
from benchmarks.provider import Provider
from benchmarks.workspace import Workspace

_SMALL, _LARGE = 1_000, 1_000_000


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure what changes, or must not change, with the size of a broadcast."""
    with crier.installed(workspace, "Postgres", provider.url(), rate=0.001) as service:
        with service.serving(workspace) as (port, worker):
            ids = intake.measure(service, "Postgres", port, worker, report)
            api = Api(port, service.token)
            reading.measure(api, (ids[_SMALL], _SMALL), (ids[_LARGE], _LARGE), report)
            api.close()
        size = _LARGE // 10 if quick else _LARGE
        if provider.is_fast:
            endurance.measure(workspace, service, ids[size], size, report)
    if quick:
        return
    with (
        crier.installed(workspace, "SQLite", provider.url(), rate=0.001) as service,
        service.serving(workspace) as (port, worker),
    ):
        intake.measure(service, "SQLite", port, worker, report)
