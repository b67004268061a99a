"""A machine on which the files of deploy/ run as they are, but for addresses and paths."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.waiting import LIMIT, until

DEPLOY = ROOT / "deploy"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")

needs_nginx = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed: apt-get install nginx-light"
)


@contextmanager
def new() -> Iterator[Machine]:
    """Give a machine of its own until the end of the block."""
    # The path of a socket has 107 bytes at most: pytest's folders are too deep.
    with tempfile.TemporaryDirectory(prefix="crier-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        yield Machine(Path(folder), port)


class Unit(NamedTuple):
    """What systemd would run; `stop_within` in seconds."""

    command: list[str]
    environment: dict[str, str]
    stop_within: float


@dataclass(frozen=True)
class Machine:
    """A folder in the place of the machine's own ones, and a port in the place of 80."""

    folder: Path
    port: int

    def read(self, name: str) -> str:
        """Return a file of deploy/ with the addresses and paths of this machine."""
        content = (DEPLOY / name).read_text()
        for usual, here in {
            "/opt/crier/.venv/bin": Path(sys.executable).parent,
            "/opt/crier": ROOT,
            "/var/lib/crier": self.data,
            "/run/crier": self.folder,
            "/var/log/nginx": self.folder,
            "/etc/crier.env": self.folder / "crier.env",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
        }.items():
            content = content.replace(usual, str(here))
        return content

    def unit(self, name: str) -> Unit:
        """Return what a unit runs, with few threads so that one slow client would be felt."""
        lines = [line.partition("=") for line in self.read(f"systemd/{name}.service").splitlines()]
        given = [(key, value) for key, _, value in lines if not key.startswith("#")]
        pairs = [pair for key, value in given if key == "Environment" for pair in value.split()]
        single = dict(given)
        environment = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        limit = float(single.get("TimeoutStopSec", "90"))
        return Unit(shlex.split(single["ExecStart"]), inherited() | environment, limit)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def inherited() -> dict[str, str]:
    """Return the environment of a process that has one thread for all requests."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    own |= {
        "DATABASE_URL": "",
        "DATABASE_TIMEOUT": str(LIMIT),
        "LOG_LEVEL": "WARNING",
        "DISPATCH": "off",
    }
    return own | {"WEB_CONCURRENCY": "1", "WEB_THREADS": "1"}


@contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path = ROOT,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a folder until the end of the block; `log` takes what it says."""
    with log.open("wb") if log else nullcontext() as file:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=LIMIT)
        process.kill()
        process.wait()


@contextmanager
def nginx(machine: Machine) -> Iterator[None]:
    """Run nginx with our site and with nothing of the machine's own configuration."""
    folder = machine.folder
    (folder / "site.conf").write_text(machine.read("nginx/crier.conf"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "" if os.geteuid() else "user root;"
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    command = [str(NGINX), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, inherited()) as process:
        until(lambda: _listens(machine.port, process))
        yield


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"{process.args!r} has ended"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT):
        return True
    return False
