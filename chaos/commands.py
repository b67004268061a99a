"""The command line of the service, as its operator uses it before a run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from benchmarks.workspace import PYTHON, ROOT


def flask(environment: Mapping[str, str], *words: str) -> str:
    """Run a command of the service; return what it prints."""
    command = [PYTHON, "-m", "flask", "--app", "wsgi", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def token(environment: Mapping[str, str], *words: str) -> str:
    """Run a command that prints one token; return that."""
    [found] = set(re.findall(r"crier_[0-9a-f]{40}", flask(environment, *words)))
    return str(found)
