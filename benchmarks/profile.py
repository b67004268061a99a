"""Where a delivery's microseconds go: a profile of one dispatcher at full speed.

Beside Postgres, it also measures the loop written by hand: others on the machine change how many
deliveries a second there are of either, and change their processor times alike.

python -m benchmarks.profile [Postgres|SQLite] [SECONDS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks import crier, task_queues, throughput, usage
from benchmarks.crier import Crier
from benchmarks.provider import PACKAGES, serving
from benchmarks.workspace import Workspace, until

_A_SECOND = 200
"""Looks a second. More would slow the process that is looked at."""

_SHOWN = 22


class _Cost(NamedTuple):
    """What was spent on each delivery, in microseconds of processor time, and how fast it went.

    `sender` is the dispatcher, or the loop written by hand.
    """

    rate: float
    sender: float
    postgres: float


def main() -> int:
    """Profile and print."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "Postgres"
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 5  # noqa: PLR2004 - the second word
    task_queues.install()
    with ExitStack() as stack:
        workspace = Workspace(stack)
        provider = stack.enter_context(serving(workspace))
        if not provider.is_fast:
            print(f"nginx is not installed: apt-get install {PACKAGES['nginx']}")
            return 1
        if kind == "Postgres":
            _print_cost("By hand", _by_hand(workspace, provider.url(), seconds))
        service = stack.enter_context(crier.installed(workspace, kind, provider.url()))
        broadcast_id = service.accept(40_000 * seconds)
        (process,) = stack.enter_context(service.dispatching(workspace))
        service.resume(broadcast_id)
        _print_cost(kind, _cost(workspace, service, broadcast_id, process.pid, seconds))
        samples = workspace.new_folder() / "samples"
        _record(process.pid, seconds, samples)
        _print_profile(samples.read_text().splitlines())
    return 0


def _by_hand(workspace: Workspace, url: str, seconds: int) -> _Cost:
    with crier.installed(workspace, "Postgres", url) as service:
        broadcast_id = service.accept(40_000 * seconds)
        with throughput.looping(workspace, service, broadcast_id, url) as process:
            return _cost(workspace, service, broadcast_id, process.pid, seconds)


def _cost(workspace: Workspace, service: Crier, broadcast_id: str, pid: int, seconds: int) -> _Cost:
    """Measure over some seconds, with nobody looking inside."""
    until(lambda: service.ended(broadcast_id)[0] > 0, "the first delivery")
    time.sleep(1.0)
    sent, began = service.ended(broadcast_id)[0], time.perf_counter()
    used, served = usage.processor(pid), usage.family(workspace.postgres_pid)
    time.sleep(seconds)
    sent = service.ended(broadcast_id)[0] - sent
    used, served = usage.processor(pid) - used, usage.family(workspace.postgres_pid) - served
    elapsed = time.perf_counter() - began
    return _Cost(sent / elapsed, used / sent * 1e6, served / sent * 1e6)


def _record(pid: int, seconds: int, samples: Path) -> None:
    """Look at who holds the interpreter's lock, again and again.

    Without stopping the process: a stop ends the waits of its idle threads, which then run.
    """
    options = ["--nonblocking", "--gil", "--threads", "--format", "raw"]
    options += ["--rate", str(_A_SECOND), "--duration", str(seconds)]
    command = [task_queues.program("py-spy"), "record", *options]
    subprocess.run(
        [*command, "--pid", str(pid), "--output", str(samples)], check=True, capture_output=True
    )


def _print_cost(kind: str, cost: _Cost) -> None:
    print(f"{kind}: {cost.rate:,.0f} deliveries a second; processor time of each:")
    print(f"  {cost.sender:6.1f} µs in the process that sends")
    if kind != "SQLite":
        print(f"  {cost.postgres:6.1f} µs in Postgres")


def _print_profile(lines: Iterable[str]) -> None:
    """Print each thread's part of the interpreter's time, and that of each of our functions."""
    threads: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in lines:
        frames, _, count = line.rpartition(" ")
        thread, *stack = frames.split(";")
        name = "senders" if "sender" in thread else thread.rpartition("crier-")[2]
        threads[name] += int(count)
        for function in {frame.partition(":")[0] for frame in stack if "service/" in frame}:
            functions[f"{name}: {function.rstrip(')')})"] += int(count)
    total = threads.total() or 1
    print("\nParts of the time in which Python ran (the interpreter's lock was held):")
    for counter, shown in ((threads, 6), (functions, _SHOWN)):
        for name, samples in counter.most_common(shown):
            print(f"  {samples / total:6.1%}  {name}")
        print()


if __name__ == "__main__":
    sys.exit(main())
