"""The wall clock of a run's processes, which may be stepped for all of them or for one alone."""

from __future__ import annotations

import mmap
from pathlib import Path

_NUMBERS = 3
_BILLION = 1_000_000_000
_SHIFTED = Path(__file__).resolve().parent / "shifted"


class Clock:
    """Three numbers of 64 bits in a file that the processes have mapped into their memory.

    The offset of all clocks in nanoseconds; the process that has a further offset; that offset.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, with a clock that is right."""
        path.write_bytes(bytes(8 * _NUMBERS))
        with path.open("r+b") as file:
            self._content = mmap.mmap(file.fileno(), 0)
        self._numbers = memoryview(self._content).cast("q")
        self._path = path

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process has to start with to go by this clock."""
        return {"PYTHONPATH": str(_SHIFTED), "CHAOS_CLOCK": str(self._path)}

    def step(self, seconds: float, pid: int = 0) -> None:
        """Set the clock of all processes, or of one alone, forward or back."""
        offset = round(seconds * _BILLION)
        if pid:
            self._numbers[2] = offset
            self._numbers[1] = pid
        else:
            self._numbers[0] = offset

    def set_right(self) -> None:
        """Show everybody the right time again."""
        self._numbers[1] = 0
        self._numbers[0] = self._numbers[2] = 0

    def close(self) -> None:
        """Let go of the file."""
        self._numbers.release()
        self._content.close()
