"""A run: the service is set up, used and broken, then all is mended and compared."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from chaos import audit, report, resumptions, workspace
from chaos.api import Api
from chaos.audit import Audit
from chaos.event_log import EventLog
from chaos.faults import Faults
from chaos.plan import FAULTS, Plan, orders
from chaos.report import Migrations, Report
from chaos.supervisor import Supervisor, members
from chaos.traffic import Traffic
from chaos.workspace import Workspace

_MAX_ATTEMPTS = 15
_MAX_REQUESTS = 400
_READY_WITHIN = 60.0
_ANSWER_WITHIN = 10.0
_LOOK_EVERY = 0.2
_FILE = b"chaos " * 20_000
_EXCUSES = ("stop", "postgres", "cut", "silent", "disk", "migrate")
_NOTED = frozenset({"warning", "error", "critical"})


class NotReadyError(Exception):
    """The service did not become ready."""


@dataclass(slots=True)
class RunParts:
    """The parts of a run."""

    plan: Plan
    workspace: Workspace
    events: EventLog
    supervisor: Supervisor
    api: Api
    traffic: Traffic


def run(plan: Plan, *, aloud: bool = False) -> Report:
    """Carry a plan out; everything that was started is stopped at the end, whatever happens."""
    began = time.monotonic()
    with ExitStack() as stack:
        parts = _set_up(plan, EventLog(aloud=aloud), stack)
        faults = Faults(
            plan, parts.supervisor, parts.workspace, parts.events, lambda: _upload(parts.api)
        )
        parts.traffic.start()
        with faults.raging():
            time.sleep(plan.seconds)
        mended = time.monotonic()
        parts.traffic.finish(plan.patience)
        told = _await_quiet(parts)
        quiet_after = time.monotonic() - mended
        parts.supervisor.stop()
        found = _report(parts, _audit(parts, told))
        found.quiet_after, found.elapsed = quiet_after, time.monotonic() - began
    return found


def _set_up(plan: Plan, events: EventLog, stack: ExitStack) -> RunParts:
    """Start the service and the traffic's threads; the stack ends them."""
    place = stack.enter_context(workspace.prepare(plan))
    api = Api(place.port, place.welcome())
    everybody = members(place.environment, place.folder, plan.senders, _MAX_REQUESTS)
    supervisor = stack.enter_context(Supervisor(everybody, events, plan.grace))
    _await_ready(api)
    traffic = Traffic(plan, api, _sessions(plan, api, place.provider_url), orders(plan))
    stack.callback(traffic.stop)
    return RunParts(plan, place, events, supervisor, api, traffic)


def _await_ready(api: Api) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while api.get("/readyz").status != HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise NotReadyError
        time.sleep(_LOOK_EVERY)
    api.answers.clear()


def _sessions(plan: Plan, api: Api, url: str) -> dict[str, str]:
    """Create the sessions and return their ids by name."""
    made = {}
    for session in plan.sessions:
        fields = session.fields(plan.latency, plan.rate, _MAX_ATTEMPTS, url)
        answer = api.post("/session", fields)
        if answer.status != HTTPStatus.CREATED:
            raise NotReadyError(answer.text)
        made[session.name] = str(answer.data["_id"])
    return made


def _upload(api: Api) -> str:
    """Try to store a file until somebody answers, and tell what came of it."""
    deadline = time.monotonic() + _ANSWER_WITHIN
    answer = api.upload(_FILE)
    while not answer.status and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)
        answer = api.upload(_FILE)
    return f"{answer.status} {answer.text[:80] if answer.status != HTTPStatus.CREATED else ''}"


def _await_quiet(parts: RunParts) -> dict[str, dict[str, int]]:
    """Wait until every accepted broadcast is completed; return what the API says of each."""
    waiting = set(parts.traffic.accepted.values())
    told: dict[str, dict[str, int]] = {}
    deadline = time.monotonic() + parts.plan.patience
    while waiting and time.monotonic() < deadline:
        for broadcast_id in sorted(waiting):
            answer = parts.api.get(f"/broadcast/{broadcast_id}")
            if answer.status != HTTPStatus.OK:
                break
            told[broadcast_id] = answer.data["counts"]
            if answer.data["status"] == "completed":
                waiting.discard(broadcast_id)
        time.sleep(_LOOK_EVERY)
    return told


def _audit(parts: RunParts, told: dict[str, dict[str, int]]) -> Audit:
    engine = create_engine(parts.workspace.url)
    try:
        with engine.connect() as connection:
            kills = [entry.began for entry in parts.events.entries("kill", "ledger")]
            evidence = audit.Evidence(parts.workspace.sandbox, parts.workspace.provider, kills)
            return audit.compare(parts.plan, parts.traffic, told, connection, evidence)
    finally:
        engine.dispose()


def _report(parts: RunParts, compared: Audit) -> Report:
    events, answers, supervisor = parts.events, parts.api.answers, parts.supervisor
    away, frozen = events.entries("postgres", "silent"), events.entries("stop")
    sent = resumptions.look(
        parts.workspace.sandbox, parts.traffic.orders, parts.traffic.accepted_at
    )
    return Report(
        plan=parts.plan,
        audit=compared,
        faults=Counter({name: len(events.entries(name)) for name in FAULTS}),
        answers=Counter(answer.status for answer in answers),
        failures=supervisor.failures,
        complaints=supervisor.complaints(),
        server_errors=report.server_errors(answers),
        refused=parts.traffic.refused,
        changed=parts.traffic.changed,
        slowest=report.slowest(answers),
        slowest_while_away=report.slowest(answers, away, frozen),
        slowest_while_migrated=report.slowest(answers, events.entries("migrate"), frozen),
        refused_for_nothing=report.refused_for_nothing(answers, events.entries(*_EXCUSES)),
        resumptions=resumptions.measure(sent, away, events.entries("clock")),
        skipped=parts.workspace.skipped,
        uploads=Counter(entry.what for entry in events.entries("upload")),
        migrations=_migrations(events),
        log=_log(parts.workspace.folder),
        port_in_use=supervisor.port_in_use,
        renewals=supervisor.renewals(),
    )


def _migrations(events: EventLog) -> Migrations:
    """Return what became of the migrations."""
    return Migrations(
        [entry.ended - entry.began for entry in events.entries("migrate")],
        Counter(entry.what for entry in events.entries("repeated")),
        len(events.entries("given up")),
    )


def _log(folder: Path) -> Counter[str]:
    """Count the warnings and errors that the service logged, by their words."""
    events: Counter[str] = Counter()
    for path in folder.glob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if not line.startswith("{"):
                continue
            entry = json.loads(line)
            if entry.get("level") in _NOTED:
                cause = _cause(entry)
                events[f"{entry['event'][:80]}{f' ({cause[:80]})' if cause else ''}"] += 1
    return events


def _cause(entry: dict[str, Any]) -> str:
    """Return what a line of the log says of the cause, as far as it is the same each time."""
    if exception := entry.get("exception"):
        return str(exception).rpartition("\n")[2]
    said = [re.split(r' ?["\n:]', str(entry.get(name, "")))[0] for name in ("loop", "error")]
    return ": ".join(filter(None, said))
