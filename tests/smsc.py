"""An SMSC on the loopback: a process of its own, on a library of another language."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from types import TracebackType
from typing import Any, Self

import pytest

from tests.node import FOLDER
from tests.waiting import LIMIT, until

needs_smsc = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules" / "smpp").exists(),
    reason="needs Node and the packages of tests/axios (npm ci)",
)


class Smsc:
    """A running SMSC. `events` is what happened there; `behaviour` is listed in `smsc.js`."""

    def __init__(self, **behaviour: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._scheme = "smpps" if "certificate" in behaviour else "smpp"
        self._process = subprocess.Popen(
            [shutil.which("node") or "node", str(FOLDER / "smsc.js"), json.dumps(behaviour)],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        until(lambda: self.events)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.events[0]['port']}"

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the events of one kind."""
        return [each for each in list(self.events) if each["event"] == event]

    def say(self, **order: Any) -> None:
        """Change the behaviour, or give an order to all sessions that are bound."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))
