"""The memory of a process that stays."""

from __future__ import annotations

import subprocess
import sys

KEEPS_LITTLE = """
from pathlib import Path
from service.dispatch import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096

memory.settle()
before, small = resident(), []
for _ in range(20):
    large = b"x" * 20_000_000
    small.append(b"x" * 100_000)
    del large
print(resident() - before)
"""


def test_what_a_large_request_took_goes_back_at_once() -> None:
    """Without `settle`, each block of 20 MB but the first stays in the heap, behind a small one."""
    command = [sys.executable, "-c", KEEPS_LITTLE]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert int(done.stdout) < 10_000_000
