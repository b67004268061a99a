"""The wheel: what it carries, and that it migrates and serves where there is no checkout."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

from service import VERSION
from tests.conftest import ROOT
from tests.machine import running
from tests.waiting import LIMIT, until

PIP = (sys.executable, "-m", "pip", "--isolated", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*PIP, "wheel", *options, str(ROOT)], check=True)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Unpack the wheel into a folder of its own, and return how a process finds it there."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(folder), "LOG_LEVEL": "WARNING"}


def tracked(*folders: str) -> set[str]:
    """Return the files that a checkout has in some folders."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if path.suffix != ".pyc"}


def test_a_wheel_carries_the_whole_service(wheel: Path) -> None:
    assert wheel.name == f"crier-{VERSION}-py3-none-any.whl"
    with ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    moved = {f"service/{name}" for name in tracked("migrations")}
    assert carried == tracked("service") | moved | {"service/wsgi.py", "service/gunicorn_conf.py"}


def test_an_installed_wheel_migrates_and_serves(
    environment: dict[str, str], tmp_path: Path
) -> None:
    migrate = [sys.executable, "-m", "flask", "--app", "service.wsgi", "migrate"]
    subprocess.run(migrate, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "var/crier.db").exists()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = [sys.executable, "-m", "gunicorn", "--config", "python:service.gunicorn_conf"]
    with running([*server, "service.wsgi:app"], environment | {"PORT": str(port)}, tmp_path):
        until(lambda: answer(f"http://127.0.0.1:{port}/healthz"))
        until(lambda: answer(f"http://127.0.0.1:{port}/readyz"))


def answer(url: str) -> dict[str, dict[str, str]]:
    """Return what is answered, nothing while nobody answers."""
    found: dict[str, dict[str, str]] = {}
    with suppress(OSError), urlopen(url, timeout=LIMIT) as response:  # noqa: S310 - our own address
        found = json.load(response)
    return found
