"""The faults: each breaks something now and then, in a thread of its own, and mends it again."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

from chaos import ledgers
from chaos.databases import Postgres
from chaos.event_log import EventLog
from chaos.plan import ON_SERVER, Plan
from chaos.supervisor import Supervisor, Target
from chaos.workspace import Workspace
from service.database import OUT_OF_REACH

_FULL = (3.0, 8.0)
"""Seconds that the disk stays full."""

_FROZEN = (1.5, 2.0)
"""Leases that a process stands still: others see it within 7/6 of one."""

_ALONE = 0.4
"""How often it is the clock of one process alone, as if on a machine of its own."""

_AHEAD = (2.0, 5.0)
"""Seconds that the tables are those of the next version."""

_TRIES = 20
"""How often a migration that found a lock, or no database, is tried."""

_AGAIN_AFTER = 0.5


class Fault:
    """Something that is broken again and again until the time is over."""

    def __init__(self, name: str, plan: Plan, strike: Callable[[Random], None]) -> None:
        self._strike = strike
        self._chance = plan.random(name)
        self._pauses = plan.pauses(name, self._chance)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"fault-{name}")
        self._name = name
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin, with a pause."""
        self._thread.start()

    def stop(self) -> None:
        """Break nothing any more; what is broken just now is mended first."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for pause in self._pauses:
                if self._over.wait(pause):
                    return
                self._strike(self._chance)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.error = error


class Faults:
    """All that a run breaks."""

    def __init__(
        self,
        plan: Plan,
        supervisor: Supervisor,
        workspace: Workspace,
        events: EventLog,
        probe: Callable[[], str],
    ) -> None:
        """Break what the plan says; `probe` uploads a file while the disk is full."""
        self._plan = plan
        self._crew = supervisor
        self._database = workspace.database
        self._disk = workspace.disk
        self._clock = workspace.clock
        self._upgrade = workspace.upgrade
        self._events = events
        self._probe = probe
        self._over = threading.Event()
        # Postgres is stopped on purpose, or mended after the disk was full, not both at once.
        self._on_database = threading.Lock()
        verbs = {
            "kill": self._kill,
            "ledger": self._damage,
            "stop": self._freeze,
            "term": self._terminate,
            "postgres": self._crash,
            "cut": self._cut,
            "silent": self._silence,
            "disk": self._fill,
            "clock": self._step,
            "migrate": self._migrate,
        }
        self._faults = [Fault(name, plan, verbs[name]) for name in self._possible()]

    @contextmanager
    def raging(self) -> Iterator[None]:
        """Break things within the block; all is mended at its end."""
        for fault in self._faults:
            fault.start()
        try:
            yield
        finally:
            self._over.set()
            for fault in self._faults:
                fault.stop()
            self._database.mend()
        for fault in self._faults:
            if fault.error:
                raise fault.error

    def _possible(self) -> Iterator[str]:
        for name in self._plan.faults:
            if name in ON_SERVER and not isinstance(self._database, Postgres):
                continue
            if name == "disk" and self._disk is None:
                continue
            yield name

    def _kill(self, chance: Random) -> None:
        """Kill one process, whichever."""
        target = self._choose(chance, self._crew.targets())
        if target:
            self._crew.excuse(target.process)
            if target.process.signal(SIGKILL):
                self._events.note("kill", f"{target.role} {target.process.pid}")

    def _damage(self, chance: Random) -> None:
        """Kill a process that sends, and damage its ledger before anybody reads it."""
        target = self._choose(chance, self._senders())
        if target is None:
            return
        self._crew.excuse(target.process)
        target.process.signal(SIGSTOP)
        damage = chance.choice(ledgers.DAMAGES)
        damaged = [damage(path) for path in ledgers.of(target.process.pid)]
        target.process.signal(SIGKILL)
        what = ", ".join(damaged) or "no ledger"
        self._events.note("ledger", f"{target.role} {target.process.pid}: {what}")

    def _freeze(self, chance: Random) -> None:
        """Let a process that sends stand still until the others have given it up."""
        target = self._choose(chance, self._senders())
        seconds = self._plan.lease * chance.uniform(*_FROZEN)
        if target is None:
            return
        process = target.process
        with self._events.noting("stop", f"{target.role} {process.pid} for {seconds:.1f} s"):
            process.signal(SIGSTOP)
            self._over.wait(seconds)
            process.signal(SIGCONT)

    def _terminate(self, chance: Random) -> None:
        """Ask some processes, or all, to end, three times in a row."""
        targets = self._crew.targets()
        some = chance.sample(targets, min(len(targets), chance.choice((1, 2, 5))))
        for target in some:
            self._crew.excuse(target.process)
        self._events.note("term", ", ".join(f"{each.role} {each.process.pid}" for each in some))
        for _ in range(3):
            for target in some:
                target.process.signal(SIGTERM)
            time.sleep(0.1)

    def _crash(self, chance: Random) -> None:
        """Crash Postgres, and start it again after a while."""
        seconds = chance.uniform(*self._plan.away)
        database = self._postgres()
        with self._on_database, self._events.noting("postgres", f"away for {seconds:.1f} s"):
            database.crash()
            self._over.wait(seconds)
            database.restart()

    def _cut(self, chance: Random) -> None:
        """Cut connections to Postgres."""
        with self._on_database:
            self._events.note("cut", f"{self._postgres().cut(chance)} connections")

    def _silence(self, chance: Random) -> None:
        """Let Postgres stand still, connected, and go on after a while."""
        seconds = chance.uniform(*self._plan.away)
        noting = self._events.noting("silent", f"for {seconds:.1f} s")
        with self._on_database, noting, self._postgres().silent():
            self._over.wait(seconds)

    def _fill(self, chance: Random) -> None:
        """Fill the disk under everything, and give the space back after a while."""
        seconds = chance.uniform(*_FULL)
        disk: Any = self._disk
        with self._on_database, self._events.noting("disk", f"full for {seconds:.1f} s"):
            disk.fill()
            self._over.wait(seconds / 2)
            said = self._probe()
            self._over.wait(seconds / 2)
            disk.free()
            self._database.mend()
        self._events.note("upload", said)

    def _step(self, chance: Random) -> None:
        """Step the clock of all processes or of one, and set it right after a while."""
        least, most = self._plan.step
        seconds = least * (most / least) ** chance.random() * chance.choice((-1, 1))
        alone = chance.random() < _ALONE
        target = self._choose(chance, self._senders()) if alone else None
        who = f"{target.role} {target.process.pid}" if target else "everybody"
        # What was then due now, or sent on, waits until the right clock has come as far.
        delay = max(0.0, seconds)
        with self._events.noting("clock", f"{who} by {seconds:+.1f} s", delay):
            self._clock.step(seconds, target.process.pid if target else 0)
            self._over.wait(chance.uniform(*self._plan.wrong))
            self._clock.set_right()

    def _migrate(self, chance: Random) -> None:
        """Bring the tables to the next version while this one runs, and back after a while."""
        self._revise(self._upgrade.go_on, "to the next version")
        self._over.wait(chance.uniform(*_AHEAD))
        self._revise(self._upgrade.go_back, "back")

    def _revise(self, migrate: Callable[[], None], what: str) -> None:
        """Migrate, again and again if need be; what is not done after all tries is noted."""
        for _ in range(_TRIES):
            began = time.time()
            try:
                migrate()
            except OUT_OF_REACH as error:
                self._events.note("migrate", f"{what}: {_gist(error)}", began)
                self._events.note("repeated", _gist(error))
                time.sleep(_AGAIN_AFTER)
            else:
                self._events.note("migrate", what, began)
                return
        self._events.note("given up", what)

    def _senders(self) -> list[Target]:
        return [target for target in self._crew.targets() if target.sends]

    def _postgres(self) -> Postgres:
        database = self._database
        if not isinstance(database, Postgres):
            raise TypeError(database)
        return database

    @staticmethod
    def _choose(chance: Random, targets: list[Target]) -> Target | None:
        return chance.choice(targets) if targets else None


def _gist(error: Exception) -> str:
    """Return the beginning of what the database said, up to where it names addresses or files."""
    words = str(getattr(error, "orig", error)).strip()
    return re.split(r' ?["\n:]', words, maxsplit=1)[0]
