"""Node and the packages of `tests/axios`, for tests that run what others write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "axios"
PROGRAMS = FOLDER / "node_modules" / ".bin"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not PROGRAMS.exists(),
    reason="needs Node and the packages of tests/axios (npm ci)",
)


def run(*command: str | Path, stdin: str = "", folder: Path = FOLDER) -> str:
    """Run a program of Node and return what it prints; a warning is printed, too."""
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        cwd=folder,
        input=stdin,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
