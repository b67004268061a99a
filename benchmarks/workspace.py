"""The workspace that measurements stand on: a folder, a durable Postgres, processes, free ports.

Everything is made for one run, on the loopback, and ended by its own process id, also when the
run is broken off.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
KEPT = frozenset(
    {"PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"}
)

POSTGRES = {
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "10s",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "off",
}
"""Of a small server in production; what it promises to keep is left as it is: fsync is on."""

_PATIENCE = 60.0
_GRACE = 40.0


class BenchmarkError(Exception):
    """A measurement could not be taken."""


class Workspace:
    """One run's folder and Postgres server; both go when the run ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._numbers = count(1)
        self.folder = Path(stack.enter_context(_folder()))
        cluster = postgres.Cluster(durable=True, settings=POSTGRES)
        stack.callback(cluster.close)
        cluster.start()
        self.admin_url = cluster.url
        self.postgres_pid = int((cluster.folder / "data/postmaster.pid").read_text().split()[0])

    def new_folder(self) -> Path:
        """Return a new folder."""
        folder = self.folder / f"run{next(self._numbers)}"
        folder.mkdir()
        return folder

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Give the URL of an empty database of the server."""
        name = f"bench{next(self._numbers)}"
        try:
            yield postgres.create_database(self.admin_url, name)
        finally:
            postgres.drop_database(self.admin_url, name)

    def said(self, name: str) -> str:
        """Return what the last process of that name has said."""
        last = max(self.folder.glob(f"{name}-*.log"), key=lambda path: path.stat().st_mtime_ns)
        return last.read_text(errors="replace")

    @contextmanager
    def process(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program beside the measurement; what it says goes into a file of its name."""
        path = self.folder / f"{name}-{next(self._numbers)}.log"
        with running(command, path, environment) as process:
            yield process


@contextmanager
def running(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block; raises BenchmarkError if it failed by then.

    So it does where the program has logged an error: figures taken beside one mean nothing.
    """
    process = start(command, log, clean_environment() | dict(environment or {}))
    try:
        yield process
        ended = process.poll()
        if ended:
            raise BenchmarkError(f"{log.stem} ended with {ended}:\n{tail(log)}")
        if told := errors(log):
            raise BenchmarkError(f"{log.stem} logged an error:\n{told[0]}")
    finally:
        end(process)


def start(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; what it says is added to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def clean_environment() -> dict[str, str]:
    """Return the environment without what could change how programs behave."""
    return {name: value for name, value in os.environ.items() if name in KEPT}


def until(done: Callable[[], bool], what: str, *, limit: float = _PATIENCE) -> None:
    """Wait for a condition; raises BenchmarkError when it does not come."""
    deadline = time.monotonic() + limit
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"Waited {limit:.0f} seconds for {what}.")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def on_path(*names: str) -> str | None:
    """Return the first of these programs that there is; system folders count, too."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="crier-bench-", ignore_cleanup_errors=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and wait for that; kill it if it takes long."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def errors(log: Path) -> list[str]:
    """Return the lines of a log that tell errors of the service."""
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if '"level": "error"' in line]


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-3000:]
