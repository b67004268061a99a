"""The supervisor: the service's processes, each started again as soon as it is gone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import NamedTuple, Self

from benchmarks.workspace import start
from chaos.event_log import EventLog
from chaos.processes import Process, children, find

_LOOK_EVERY = 0.02
_PORT_IN_USE = "Can't connect to"
_RENEWAL = "Autorestarting worker"


class Target(NamedTuple):
    """A process that can be broken; `sends` unless it only looks after others."""

    role: str
    process: Process
    sends: bool


class Member:
    """One process that has to run all the time."""

    def __init__(
        self, role: str, command: Sequence[str], environment: Mapping[str, str], logs: Path
    ) -> None:
        self.role = role
        self.log = logs / f"{role}.log"
        self._command = command
        self._environment = environment
        self.starts = 0
        self.excused = False
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the number of the present process."""
        return self._popen.pid if self._popen else 0

    def start(self) -> None:
        """Start the process; what it prints goes to the log."""
        self.excused = False
        self.starts += 1
        self._popen = start(self._command, self.log, self._environment)

    def ended(self) -> int | None:
        """Return how the process ended, None while it runs."""
        return self._popen.poll() if self._popen else None

    def wait(self, timeout: float) -> bool:
        """Wait for the end; tell whether it came."""
        try:
            if self._popen:
                self._popen.wait(max(0.0, timeout))
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-1500:]


class Supervisor:
    """Gunicorn and dispatchers; `failures` are ends that nobody had asked for."""

    def __init__(self, members: Sequence[Member], events: EventLog, grace: float) -> None:
        self._members = members
        self._events = events
        self._grace = grace
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher")
        self._seen: set[Process] = set()
        self.struck: set[int] = set()
        self.failures: list[str] = []
        self.port_in_use = 0

    def __enter__(self) -> Self:
        """Start everybody."""
        for member in self._members:
            member.start()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everybody, by force if need be."""
        self.stop()

    def targets(self) -> list[Target]:
        """Return all processes there are at present."""
        found = []
        for member in self._members:
            process = find(member.pid)
            if process is None:
                continue
            found.append(Target(member.role, process, sends=member.role != "gunicorn"))
            for worker in children(member.pid):
                found.append(Target("worker", worker, sends=False))
                beside = children(worker.pid)
                found += [Target("dispatcher", each, sends=True) for each in beside]
        self._seen |= {target.process for target in found}
        return found

    def excuse(self, process: Process) -> None:
        """Expect the end of a process."""
        self.struck.add(process.pid)
        for member in self._members:
            if member.pid == process.pid:
                member.excused = True

    def stop(self) -> None:
        """End all processes: by SIGTERM, and those that do not heed it by SIGKILL."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._watcher.join()
        everybody = self.targets()
        for process in self._seen:
            process.signal(SIGCONT)
        for target in everybody:
            if target.role not in {"worker", "dispatcher"}:
                target.process.signal(SIGTERM)
        deadline = time.monotonic() + 2 * self._grace + 10.0
        for member in self._members:
            if not member.wait(deadline - time.monotonic()):
                self.failures.append(f"{member.role} did not heed SIGTERM")
        self._end_by_force(deadline)

    def renewals(self) -> int:
        """Count the workers that gunicorn replaced because of `max_requests`."""
        logs = [member.log.read_text(errors="replace") for member in self._members]
        return sum(log.count(_RENEWAL) for log in logs)

    def complaints(self) -> list[str]:
        """Return what gunicorn says of workers that ended though nobody had asked for it."""
        found = []
        for member in self._members:
            for line in member.log.read_text(errors="replace").splitlines():
                if "exited with code" in line or "WORKER TIMEOUT" in line:
                    pid = line.partition("pid:")[2].partition(")")[0]
                    if not (pid.isdigit() and int(pid) in self.struck):
                        found.append(line.strip())
        return found

    def _end_by_force(self, deadline: float) -> None:
        """Kill what is left, orphans of killed masters among them."""
        while time.monotonic() < deadline and any(each.is_alive() for each in self._seen):
            time.sleep(_LOOK_EVERY)
        for process in self._seen:
            if process.signal(SIGKILL):
                self.failures.append(f"process {process.pid} had to be killed at the end")
        for member in self._members:
            member.wait(10.0)

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY):
            for member in self._members:
                if (code := member.ended()) is not None:
                    self._replace(member, code)
            self.targets()

    def _replace(self, member: Member, code: int) -> None:
        if not member.excused:
            self._complain(member, code)
        member.start()

    def _complain(self, member: Member, code: int) -> None:
        """Note an unexpected end. A port still held by a killed master's workers does not count."""
        words = member.last_words()
        if member.role == "gunicorn" and _PORT_IN_USE in words:
            self.port_in_use += 1
            return
        gist = words.strip().rpartition("\n")[2]
        self.failures.append(f"{member.role} ended with {code}: {gist[:300]}")
        self._events.note("ended", f"{member.role} by itself with {code}")


def members(
    environment: Mapping[str, str], logs: Path, dispatchers: int, requests: int
) -> list[Member]:
    """Return gunicorn, whose workers change after so many requests, and the dispatchers."""
    python = sys.executable
    limits = ["--max-requests", str(requests), "--max-requests-jitter", str(requests // 2)]
    gunicorn = [python, "-m", "gunicorn", "--log-level", "info", *limits, "wsgi:app"]
    command = "worker" if environment["DISPATCH"] == "procrastinate" else "dispatch"
    dispatch = [python, "-m", "flask", "--app", "wsgi", command]
    names = [f"{command}-{number}" for number in range(1, dispatchers + 1)]
    return [
        Member("gunicorn", gunicorn, environment, logs),
        *(Member(name, dispatch, environment, logs) for name in names),
    ]
