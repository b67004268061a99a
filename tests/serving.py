"""The service as an operator runs it: gunicorn and `flask dispatch`, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from email.message import Message
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from subprocess import Popen
from typing import IO, Any, NamedTuple

from service.config import Settings
from tests.programs import Program
from tests.waiting import LIMIT, until

ROOT = Path(__file__).parent.parent
_SETTINGS = {setting.name.upper() for setting in fields(Settings)}
# Each process would compile all of the service for itself.
_HINDRANCES = {"PYTHONDONTWRITEBYTECODE"}
QUICK = {
    "LOG_LEVEL": "INFO",
    "POLL_INTERVAL": "0.1",
    "SWEEP_INTERVAL": "0.3",
    "RETRY_BASE": "0.05",
    "RETRY_CAP": "0.1",
}


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    """Return the environment of a process that uses the tests' database and nothing else of ours.

    What measures coverage in subprocesses is left in it.
    """
    kept = {
        name: value for name, value in os.environ.items() if name not in _SETTINGS | _HINDRANCES
    }
    where = {
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "DATABASE_TIMEOUT": str(settings.database_timeout),
    }
    return kept | where | QUICK | changes


class Process:
    """A process of the service, with its children; `output` is where they write, if not here."""

    output: IO[bytes] | None = None

    def __init__(self, settings: Settings, *command: str, **changes: str) -> None:
        self._command = command
        self._environment = environment(settings, **changes)
        self._process: Program | Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = self.begin()

    def begin(self) -> Program | Popen[bytes]:
        """Start what is run, without waiting for anything."""
        outputs = (self.output.fileno(),) * 2 if self.output else (1, 2)
        return Program(self._command, ROOT, self._environment, outputs)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """Return the process ids of gunicorn's workers."""
        return children_of(self.pid)

    def dispatchers(self) -> list[int]:
        """Return the process ids of the dispatchers beside gunicorn's workers."""
        return [each for worker in self.children() for each in children_of(worker)]

    def terminate(self, limit: float = LIMIT) -> int:
        """Ask for a graceful end and return the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(limit)

    def interrupt(self) -> None:
        """Do what Ctrl-C does in a terminal: every process of the service gets SIGINT."""
        for pid in (self.pid, *self.children(), *self.dispatchers()):
            os.kill(pid, signal.SIGINT)

    def wait(self, limit: float = LIMIT) -> int:
        """Return the exit status."""
        assert self._process is not None
        return self._process.wait(limit)

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL, all at once."""
        assert self._process is not None
        for pid in (self.pid, *self.children(), *self.dispatchers()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def kill_dispatcher(self) -> None:
        """Kill the dispatcher beside a worker with SIGKILL, once there is one."""
        until(self.dispatchers)
        with suppress(ProcessLookupError):
            os.kill(self.dispatchers()[0], signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children; none of one that is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in found.split()]
    return []


class Server(Process):
    """gunicorn with the project's own configuration, on a free port."""

    def __init__(self, settings: Settings, *options: str, **changes: str) -> None:
        self.port = free_port()
        super().__init__(
            settings, "gunicorn", *options, "wsgi:app", **{"PORT": str(self.port), **changes}
        )

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        super().start()
        until(self.is_ready)

    def is_ready(self) -> bool:
        assert self.is_running(), "gunicorn ended"
        with suppress(OSError, HTTPException):
            return self.ask("GET", "/readyz")[0] == 200
        return False

    def ask(
        self, method: str, path: str, token: str = "", body: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Send a request; return the status and the envelope."""
        sent = json.dumps(body).encode() if body else None
        answer = Caller(self.port, token).ask(method, path, sent)
        return answer.status, json.loads(answer.body)


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Start processes, and leave none of them behind."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.kill()


class Answer(NamedTuple):
    """What came of a request."""

    status: int
    headers: Message
    body: bytes


class Caller(NamedTuple):
    """Whoever asks what listens on this machine, by a connection for each request."""

    port: int
    token: str = ""
    limit: float = LIMIT

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        most: int | None = None,
    ) -> Answer:
        """Send a request and read the answer, `most` bytes of it; raises OSError, HTTPException.

        A body is of JSON, unless `headers` name something else.
        """
        known = {} if body is None else {"Content-Type": "application/json"}
        if self.token:
            known["Authorization"] = f"Bearer {self.token}"
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=self.limit)) as connection:
            connection.request(method, path, body, known | dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read(most))


def free_port() -> int:
    """Return a port that nobody listens on, now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
