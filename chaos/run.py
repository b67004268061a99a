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

from chaos import audit, ground, report, resumptions
from chaos.api import Api
from chaos.audit import Audit
from chaos.crew import Crew, members
from chaos.faults import Faults
from chaos.ground import Ground
from chaos.journal import Journal
from chaos.plan import FAULTS, Plan, orders
from chaos.report import Migrations, Report
from chaos.traffic import Traffic

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
class Scene:
    """The parts of a run."""

    plan: Plan
    ground: Ground
    journal: Journal
    crew: Crew
    api: Api
    traffic: Traffic


def run(plan: Plan, *, aloud: bool = False) -> Report:
    """Carry a plan out; everything that was started is stopped at the end, whatever happens."""
    began = time.monotonic()
    with ExitStack() as stack:
        scene = _set_up(plan, Journal(aloud=aloud), stack)
        faults = Faults(plan, scene.crew, scene.ground, scene.journal, lambda: _upload(scene.api))
        scene.traffic.start()
        with faults.raging():
            time.sleep(plan.seconds)
        mended = time.monotonic()
        scene.traffic.finish(plan.patience)
        told = _await_quiet(scene)
        quiet_after = time.monotonic() - mended
        scene.crew.stop()
        found = _report(scene, _audit(scene, told))
        found.quiet_after, found.elapsed = quiet_after, time.monotonic() - began
    return found


def _set_up(plan: Plan, journal: Journal, stack: ExitStack) -> Scene:
    """Start the service and the traffic's threads; the stack ends them."""
    place = stack.enter_context(ground.prepare(plan))
    api = Api(place.port, place.welcome())
    everybody = members(place.environment, place.folder, plan.senders, _MAX_REQUESTS)
    crew = stack.enter_context(Crew(everybody, journal, plan.grace))
    _await_ready(api)
    traffic = Traffic(plan, api, _sessions(plan, api, place.provider_url), orders(plan))
    stack.callback(traffic.stop)
    return Scene(plan, place, journal, crew, api, traffic)


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


def _await_quiet(scene: Scene) -> dict[str, dict[str, int]]:
    """Wait until every accepted broadcast is completed; return what the API says of each."""
    waiting = set(scene.traffic.accepted.values())
    told: dict[str, dict[str, int]] = {}
    deadline = time.monotonic() + scene.plan.patience
    while waiting and time.monotonic() < deadline:
        for broadcast_id in sorted(waiting):
            answer = scene.api.get(f"/broadcast/{broadcast_id}")
            if answer.status != HTTPStatus.OK:
                break
            told[broadcast_id] = answer.data["counts"]
            if answer.data["status"] == "completed":
                waiting.discard(broadcast_id)
        time.sleep(_LOOK_EVERY)
    return told


def _audit(scene: Scene, told: dict[str, dict[str, int]]) -> Audit:
    engine = create_engine(scene.ground.url)
    try:
        with engine.connect() as connection:
            kills = [entry.began for entry in scene.journal.entries("kill", "ledger")]
            evidence = audit.Evidence(scene.ground.sandbox, scene.ground.provider, kills)
            return audit.compare(scene.plan, scene.traffic, told, connection, evidence)
    finally:
        engine.dispose()


def _report(scene: Scene, compared: Audit) -> Report:
    journal, answers, crew = scene.journal, scene.api.answers, scene.crew
    away, frozen = journal.entries("postgres", "silent"), journal.entries("stop")
    sent = resumptions.look(scene.ground.sandbox, scene.traffic.orders, scene.traffic.accepted_at)
    return Report(
        plan=scene.plan,
        audit=compared,
        faults=Counter({name: len(journal.entries(name)) for name in FAULTS}),
        answers=Counter(answer.status for answer in answers),
        failures=crew.failures,
        complaints=crew.complaints(),
        server_errors=report.server_errors(answers),
        refused=scene.traffic.refused,
        changed=scene.traffic.changed,
        slowest=report.slowest(answers),
        slowest_while_away=report.slowest(answers, away, frozen),
        slowest_while_migrated=report.slowest(answers, journal.entries("migrate"), frozen),
        refused_for_nothing=report.refused_for_nothing(answers, journal.entries(*_EXCUSES)),
        resumptions=resumptions.measure(sent, away, journal.entries("clock")),
        skipped=scene.ground.skipped,
        uploads=Counter(entry.what for entry in journal.entries("upload")),
        migrations=_migrations(journal),
        log=_log(scene.ground.folder),
        port_in_use=crew.port_in_use,
        renewals=crew.renewals(),
    )


def _migrations(journal: Journal) -> Migrations:
    """Return what became of the migrations."""
    return Migrations(
        [entry.ended - entry.began for entry in journal.entries("migrate")],
        Counter(entry.what for entry in journal.entries("repeated")),
        len(journal.entries("given up")),
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
