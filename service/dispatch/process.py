"""The process of a dispatcher: started by `flask dispatch`, or beside a web worker."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, NoReturn

import structlog

from service.config import Settings
from service.dispatch import memory, stop_notice
from service.dispatch.dispatcher import Dispatcher
from service.metrics import meters

log = structlog.get_logger(__name__)

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_IGNORED: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
"""What gunicorn's processes are sent for other reasons."""

_LOOK: Final = 0.5
"""Seconds between two reports on a dispatcher's problems, and two looks for its web worker."""

_PATIENCE: Final = 30.0
"""Seconds after the last report at which a process counts as standing still."""

_SPARE: Final = 5.0
"""Seconds for a dispatcher's last steps after its `GRACE`."""

_GLANCE: Final = 0.02

_REPORT: Final = 1024
"""Bytes of a report."""

_WHEN: Final = struct.Struct("<d")


def work(
    dispatcher: Dispatcher,
    settings: Settings,
    say: Callable[[str], object],
    go_on: Callable[[], bool] = lambda: True,
) -> bool:
    """Dispatch in this process until it is told to end; return whether all results were written.

    SIGTERM, SIGINT and SIGQUIT end it. So does `go_on`, called twice a second, when it returns
    False.
    """
    ended: SimpleQueue[int] = SimpleQueue()  # a signal handler may put something into this one
    for number in _ENDING:
        signal.signal(number, lambda received, _frame: ended.put(received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    meters.share(settings.metrics_dir)
    memory.settle()
    dispatcher.start()
    while go_on() and not _has_come(ended):
        pass
    with stop_notice.shown(say, settings.grace):
        return dispatcher.stop(settings.grace)


def _has_come(ended: SimpleQueue[int]) -> bool:
    with suppress(Empty):
        ended.get(timeout=_LOOK)
        return True
    return False


class DispatcherProcess:
    """The dispatcher of a web worker, in a process beside it.

    The worker forks it before it has threads and connections. Neither outlives the other for long:
    the dispatcher stops when its worker is gone, and a worker ends when its dispatcher `has_ended`.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._report: mmap.mmap
        """What both processes see; made by `start`, as each worker has its own."""

    def start(
        self, make: Callable[[], Dispatcher], settings: Settings, leave: Callable[[], None]
    ) -> None:
        """Fork; `leave` closes what belongs to the web worker alone."""
        self._report = mmap.mmap(-1, _REPORT)
        worker = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            pid = os.fork()
            if pid == 0:
                self._run(make, settings, leave, worker)
            self._pid = pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def drain(self) -> None:
        """Tell the process to stop. Safe to call in a signal handler."""
        self._send(signal.SIGTERM)

    def stop(self, timeout: float) -> None:
        """Stop the process; kill it if that takes a little longer than its own limit, `timeout`."""
        self.drain()
        deadline = time.monotonic() + timeout + _SPARE
        while self._pid and not self.has_ended():
            if time.monotonic() > deadline:
                self._send(signal.SIGKILL)
            time.sleep(_GLANCE)

    def _send(self, number: signal.Signals) -> None:
        # A handler may reset the number at any line, and 0 means all processes of the group.
        if pid := self._pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def has_ended(self) -> bool:
        """Return whether it has ended since the last call. Safe to call in a signal handler."""
        pid = self._pid
        try:
            has_ended = bool(pid and os.waitpid(pid, os.WNOHANG)[0])
        except ChildProcessError:
            has_ended = True
        if has_ended:
            self._pid = 0
        return has_ended

    def problem(self) -> str | None:
        """Return the problem that stops it from dispatching, if there is one."""
        if not self._pid:
            return "This process runs no dispatcher. Start gunicorn with gunicorn.conf.py."
        report = self._report[:]
        (reported_at,) = _WHEN.unpack_from(report)
        if not reported_at:
            return "The dispatcher is starting."
        silence = time.monotonic() - reported_at
        if silence > _PATIENCE:
            return f"The dispatcher has not responded for {silence:.0f} seconds."
        return report[_WHEN.size :].rstrip(b"\0").decode(errors="replace") or None

    def _run(
        self,
        make: Callable[[], Dispatcher],
        settings: Settings,
        leave: Callable[[], None],
        worker: int,
    ) -> NoReturn:
        """Run the child process, from start to exit."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)
            leave()
            dispatcher = make()

            def go_on() -> bool:
                self._say(dispatcher.problem() or "")
                return os.getppid() == worker

            status = 0 if work(dispatcher, settings, log.info, go_on) else 1
        except Exception:
            log.exception("the dispatcher process failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _say(self, problem: str) -> None:
        report = _WHEN.pack(time.monotonic()) + problem.encode()
        self._report[:] = report[:_REPORT].ljust(_REPORT, b"\0")
