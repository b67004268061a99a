"""Programs of the service in processes of their own, which need not load its modules first.

They are forked from a process that has loaded them: each start takes a processor a quarter of a
second instead of nearly two. How an interpreter starts anew is tested where a start is the subject,
as in `tests/acceptance/test_starting.py`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "procrastinate", "service.app"]
)
"""What makes processes from the one that has loaded the modules."""


class _Output:
    """A file of this process in which another one writes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (DupFd(self._number),)


def _detached(duplicate: Any) -> int:
    number: int = duplicate.detach()
    return number


class Program:
    """What `python -m` runs, with these arguments; it offers what `subprocess.Popen` does."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        outputs: tuple[int, int] = (1, 2),
    ) -> None:
        files = tuple(_Output(number) for number in outputs)
        arguments = (list(command), str(folder), dict(environment), files)
        self._process = FORKS.Process(target=_run, args=arguments)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, if there is one yet."""
        return self._process.exitcode

    def wait(self, limit: float | None = None) -> int:
        """Return the exit status; raises TimeoutExpired."""
        self._process.join(limit)
        if (status := self._process.exitcode) is None:
            raise TimeoutExpired(str(self.pid), limit or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(
    command: Sequence[str], folder: str, environment: Mapping[str, str], outputs: tuple[int, int]
) -> None:
    """Be that program, from its first line on to its last."""
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = list(command)
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        # A process of multiprocessing leaves that out.
        atexit._run_exitfuncs()  # noqa: SLF001
