"""An attack: what one client sees while another one is hostile, and what that takes.

`python -m chaos.attack --minutes 60` measures a quiet client alone, then beside hostile requests.
It fails for an answer of 500 or more other than a documented 503, for memory that grows, for a
process that ends, and for a 99th percentile of the quiet client's time of more than twice that
alone. `--seed` repeats the hostile requests of a run, which prints its seed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import usage
from benchmarks.figures import percentile
from benchmarks.workspace import (
    PYTHON,
    ROOT,
    BenchmarkError,
    answers,
    clean_environment,
    end,
    errors,
    start,
    tail,
    until,
)
from chaos import commands, workspace
from chaos.databases import Postgres, Sqlite
from chaos.processes import descendants
from chaos.senders import Sender, Tally
from tests.serving import free_port

_ALONE: Final = 60.0
"""Seconds of the quiet client alone, before the attack."""

_WARM_UP: Final = 0.2
"""Part of the attack after which memory is measured: caches and pools have filled by then."""

_EVERY: Final = 0.2
_MOST_SLOWER: Final = 2.0
_MOST_GROWN: Final = 1.25
"""How much more memory the last quarter may take than the first one after the warm-up."""

_MOST_SHOWN: Final = 20
_LONGEST_SHOWN: Final = 2_000


@dataclass(slots=True)
class Finding:
    """What an attack has shown. `ended` says which processes of the service ended, and how."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    quiet: Tally = field(default_factory=Tally)
    hostile: Tally = field(default_factory=Tally)
    ended: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        yield f"quiet client: {len(self.alone)} requests alone, {len(self.beside)} beside"
        yield f"p50 {_ms(self.alone, 50)} alone, {_ms(self.beside, 50)} beside"
        yield f"p99 {_ms(self.alone, 99)} alone, {_ms(self.beside, 99)} beside"
        yield f"memory: {', '.join(f'{each:.0f}' for each in self._quarters())} MB by quarters"
        for name, tally in (("quiet", self.quiet), ("hostile", self.hostile)):
            statuses = sorted(tally.statuses.items())
            yield f"{name}: " + ", ".join(
                [f"{status}: {count}" for status, count in statuses]
                + [f"no answer: {tally.unanswered}"] * bool(tally.unanswered)
            )
        yield from (f"FAULT: {fault}" for fault in self.faults()[:_MOST_SHOWN])

    def faults(self) -> list[str]:
        """Return what broke the promise."""
        found = [*self.ended, *self.quiet.faults, *self.hostile.faults]
        found += [f"the quiet client was refused with {s}" for s in self.quiet.statuses if s >= 400]  # noqa: PLR2004
        if self.quiet.unanswered:
            found.append(f"the quiet client got no answer {self.quiet.unanswered} times")
        if self.alone and self.beside:
            slower = percentile(self.beside, 99) / percentile(self.alone, 99)
            if slower > _MOST_SLOWER:
                found.append(f"the quiet client's p99 is {slower:.1f} times that alone")
        first, *_, last = self._quarters()
        if last > _MOST_GROWN * first:
            found.append(f"memory grew from {first:.0f} to {last:.0f} MB")
        return found

    def _quarters(self) -> list[float]:
        size = max(1, len(self.memory) // 4)
        return [statistics.mean(self.memory[at * size : (at + 1) * size] or [0]) for at in range(4)]


class Service(NamedTuple):
    """The service under attack: its port, its first process, a token of each client, its log."""

    port: int
    process: subprocess.Popen[bytes]
    tokens: Sequence[str]
    log: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack and print what was found; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m chaos.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with _serving(options.database) as service:
        found = attack(service, 60 * options.minutes, options.seed)
    print("\n".join(found.lines()))
    return 1 if found.faults() else 0


def attack(service: Service, seconds: float, seed: int, *, alone: float = _ALONE) -> Finding:
    """Let both clients loose on the service, for less long if it ends; return what was seen."""
    found = Finding()
    calm = Sender(service.port, service.tokens[0], found.quiet)
    watch = _Watch(service, found)
    with watch.until(alone, warm_up=alone) as is_over:
        _ask(calm, found.alone, is_over)
    if not found.ended:
        warm_up = _WARM_UP * seconds
        with watch.until(seconds, warm_up) as is_over, _hostile(service, seed, found.hostile):
            _ask(calm, found.beside, is_over)
    found.hostile.faults += [line[:_LONGEST_SHOWN] for line in errors(service.log)]
    return found


@contextmanager
def _hostile(service: Service, seed: int, tally: Tally) -> Iterator[None]:
    """Have another process send hostile requests; note what was answered to them."""
    command = [PYTHON, "-m", "chaos.hostile", f"{service.port}", f"{seed}"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=said)
        try:
            process.stdin.write(f"{service.tokens[1]}\n".encode())  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            yield
        finally:
            process.communicate()  # it goes on until its input ends
        if process.returncode:
            raise BenchmarkError(f"The hostile client has ended with {process.returncode}.")
        said.seek(0)
        tally.add(json.load(said))


class _Watch:
    """Looks at the processes of a service each second: their memory, and whether they live."""

    def __init__(self, service: Service, found: Finding) -> None:
        self._service = service
        self._found = found
        self._known = {each.pid for each in descendants(service.process.pid)}

    @contextmanager
    def until(self, seconds: float, warm_up: float) -> Iterator[Callable[[], bool]]:
        """Watch within the block; give what tells that the time is over, or the service gone.

        Memory is noted after a warm-up of some seconds.
        """
        began = time.monotonic()
        left = threading.Event()

        def look() -> None:
            while not left.wait(1.0):
                self._look(is_warm=time.monotonic() > began + warm_up)

        def is_over() -> bool:
            self._note_end()
            return bool(self._found.ended) or time.monotonic() > began + seconds

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield is_over
        finally:
            left.set()
            thread.join()

    def _look(self, *, is_warm: bool) -> None:
        """Note which processes have ended, and the memory of those that live."""
        living = {each.pid for each in descendants(self._service.process.pid)}
        for pid in sorted(self._known - living):
            self._found.ended.append(f"process {pid} of the service has ended")
        self._known = living
        if is_warm and living:
            with suppress(OSError, LookupError):  # one has ended meanwhile
                pids = (self._service.process.pid, *living)
                self._found.memory.append(sum(map(usage.memory, pids)))

    def _note_end(self) -> None:
        """Note that the service has ended, and what it said last."""
        code = self._service.process.poll()
        if code is not None and not self._found.ended:
            said = tail(self._service.log)[-_LONGEST_SHOWN:]
            self._found.ended.append(f"the service has ended with {code}:\n{said}")


@contextmanager
def _serving(database: str) -> Iterator[Service]:
    """Serve until the end of the block, for two clients."""
    with ExitStack() as stack:
        folder = stack.enter_context(workspace.temporary_folder())
        server = Postgres(None) if database == "postgres" else Sqlite()
        stack.callback(server.close)
        port = free_port()
        environment = clean_environment() | {
            "DATA_DIR": f"{folder}",
            "DATABASE_URL": server.url,
            "PORT": f"{port}",
        }
        tokens = [commands.token(environment, "welcome")]
        commands.flask(environment, "client", "create", "Hostile")
        wanted = ("token", "create", "Hostile", "--scope", "admin")
        tokens.append(commands.token(environment, *wanted))
        command = [PYTHON, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"]
        process = start(command, log := folder / "service.log", environment)
        stack.callback(end, process)
        until(lambda: answers(port), "the service")
        yield Service(port, process, tokens, log)


def _ask(sender: Sender, took: list[float], is_over: Callable[[], bool]) -> None:
    """Ask as a quiet client does, five times a second; note what each answer took."""
    order = {"send_type": "individual", "to": "12025550110", "message": {"text": "Hello"}}
    paths = ("/broadcast?page_size=10", "/session", "/contact?page_size=10", "/broadcast")
    for path in cycle(paths):
        if is_over():
            return
        began = time.monotonic()
        if path == "/broadcast":
            sender.send("POST", path, json.dumps(order).encode())
        else:
            sender.send("GET", path)
        took.append(time.monotonic() - began)
        time.sleep(max(0.0, _EVERY - took[-1]))


def _ms(seconds: Sequence[float], percent: float) -> str:
    return f"{1000 * percentile(seconds, percent):.0f} ms" if seconds else "nothing"


if __name__ == "__main__":
    sys.exit(main())
