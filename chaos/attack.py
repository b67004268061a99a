"""An attack: what one client sees while another one is hostile, and what that takes.

`python -m chaos.attack --minutes 60` measures a quiet client alone, then beside hostile requests.
It fails for an answer of 500 or more other than a documented 503, for memory that grows, and for a
99th percentile of the quiet client's time of more than twice that alone.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import usage
from benchmarks.workspace import PYTHON, ROOT, answers, clean_environment, start, until
from chaos.databases import Postgres, Sqlite
from chaos.hostile import Sender, Tally
from tests.serving import free_port

_ALONE: Final = 60.0
"""Seconds of the quiet client alone, before the attack."""

_EVERY: Final = 0.2
_MOST_SLOWER: Final = 2.0
_MOST_GROWN: Final = 1.25
"""How much more memory the last quarter may take than the second one."""

_MOST_SHOWN: Final = 20
_LONGEST_SHOWN: Final = 2_000


class Finding(NamedTuple):
    """What an attack has shown."""

    alone: list[float]
    beside: list[float]
    memory: list[float]
    quiet: Tally
    hostile: Tally

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        yield f"quiet client: {len(self.alone)} requests alone, {len(self.beside)} beside"
        yield f"p50 {_ms(_p(self.alone, 50))} alone, {_ms(_p(self.beside, 50))} beside"
        yield f"p99 {_ms(_p(self.alone, 99))} alone, {_ms(_p(self.beside, 99))} beside"
        yield f"memory: {', '.join(f'{each:.0f}' for each in self._quarters())} MB by quarters"
        for name, tally in (("quiet", self.quiet), ("hostile", self.hostile)):
            statuses = sorted(tally.statuses.items())
            yield f"{name}: " + ", ".join(f"{status}: {count}" for status, count in statuses)
        yield from (f"FAULT: {fault}" for fault in self.faults()[:_MOST_SHOWN])

    def faults(self) -> list[str]:
        """Return what broke the promise."""
        found = [*self.quiet.faults, *self.hostile.faults]
        found += [f"the quiet client was refused with {s}" for s in self.quiet.statuses if s >= 400]  # noqa: PLR2004
        slower = _p(self.beside, 99) / _p(self.alone, 99)
        if slower > _MOST_SLOWER:
            found.append(f"the quiet client's p99 is {slower:.1f} times that alone")
        _, second, _, last = self._quarters()
        if last > _MOST_GROWN * second:
            found.append(f"memory grew from {second:.0f} to {last:.0f} MB")
        return found

    def _quarters(self) -> list[float]:
        size = max(1, len(self.memory) // 4)
        return [statistics.mean(self.memory[at * size : (at + 1) * size] or [0]) for at in range(4)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack and print what was found; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m chaos.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    found = attack(60 * options.minutes, options.database, options.seed)
    print("\n".join(found.lines()))
    return 1 if found.faults() else 0


def attack(seconds: float, database: str, seed: int, *, alone: float = _ALONE) -> Finding:
    """Start the service, let both clients loose on it, and return what was seen."""
    with _serving(database) as (port, pid, tokens, log):
        quiet, bad = Tally(), Tally()
        finding = Finding([], [], [], quiet, bad)
        calm = Sender(port, tokens[0], quiet)
        _ask(calm, finding.alone, _for(alone))
        is_over = _for(seconds)
        watch = threading.Thread(target=_watch, args=(pid, finding.memory, is_over))
        watch.start()
        with _hostile(port, tokens[1], seconds, seed, bad):
            _ask(calm, finding.beside, is_over)
        watch.join()
        bad.faults += _errors(log)
    return finding


@contextmanager
def _hostile(port: int, token: str, seconds: float, seed: int, tally: Tally) -> Iterator[None]:
    """Have hostile requests sent by another process; note what was answered to them."""
    command = [PYTHON, "-m", "chaos.hostile", f"{port}", f"{seconds}", f"{seed}"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=said)
        try:
            process.stdin.write(token.encode())  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
            yield
        finally:
            process.wait()
        said.seek(0)
        told = json.load(said)
    tally.statuses.update({int(status): count for status, count in told["statuses"].items()})
    tally.faults += told["faults"]


def _errors(log: Path) -> list[str]:
    """Return the errors that the service has logged."""
    lines = log.read_text(errors="replace").splitlines()
    return [line[:_LONGEST_SHOWN] for line in lines if '"level": "error"' in line]


@contextmanager
def _serving(database: str) -> Iterator[tuple[int, int, list[str], Path]]:
    """Serve; give the port, the process, a token for each of two clients, and the log."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crier-attack-")))
        folder.chmod(0o711)  # Postgres runs under another account.
        server = Postgres(None) if database == "postgres" else Sqlite()
        stack.callback(server.close)
        port = free_port()
        environment = {"DATA_DIR": f"{folder}", "DATABASE_URL": server.url, "PORT": f"{port}"}
        run = _Flask(clean_environment() | environment)
        tokens = [run.token("welcome")]
        run("client", "create", "Hostile")
        tokens.append(run.token("token", "create", "Hostile", "--scope", "admin"))
        command = [PYTHON, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"]
        process = start(command, log := folder / "service.log", clean_environment() | environment)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        until(lambda: answers(port), "the service")
        yield port, process.pid, tokens, log


class _Flask:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __call__(self, *words: str) -> str:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def token(self, *words: str) -> str:
        """Return the token that a command prints."""
        [token] = set(re.findall(r"crier_[0-9a-f]{40}", self(*words)))
        return str(token)


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


def _watch(pid: int, memory: list[float], is_over: Callable[[], bool]) -> None:
    """Note the memory of all processes of the service each second."""
    while not is_over():
        memory.append(sum(usage.memory(each) for each in (pid, *usage.children(pid))))
        time.sleep(1.0)


def _for(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _p(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
