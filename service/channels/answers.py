"""What providers answer, and how well it went with them of late."""

from __future__ import annotations

from typing import Final, NamedTuple

CALM: Final = 1_000
"""Good answers in a row after which refusals are no more expected: header lines are not read, as
libcurl calls Python once for each, and several messages are sent at once."""

_SUCCESS: Final = range(200, 300)


class Answer(NamedTuple):
    """What came back; `wait` is `Retry-After` in seconds from now, 0 when it was not said.

    `lines` are the header lines; of a refusal after very many good answers they were not read.
    """

    status: int
    body: bytes
    wait: float
    lines: tuple[bytes, ...]

    @property
    def accepted(self) -> bool:
        """Tell whether the status is one of success."""
        return self.status in _SUCCESS

    def header(self, name: str) -> str:
        """Return a header's value, empty when it is absent."""
        wanted = name.lower().encode() + b":"
        for line in self.lines:
            if line[: len(wanted)].lower() == wanted:
                return line[len(wanted) :].strip().decode("latin-1")
        return ""


class Weather:
    """How well it went of late with the providers: what a refusal's header lines say is heeded.

    Threads count without a lock: a number that is lost makes it calm a little later.
    """

    def __init__(self) -> None:
        self._good = 0
        self.is_calm = False

    def answered(self, *, accepted: bool) -> None:
        """Take note of an answer."""
        if not accepted:
            self.worsened()
        elif not self.is_calm:
            self._good += 1
            self.is_calm = self._good >= CALM

    def worsened(self) -> None:
        """Take note of a refusal, or of no answer."""
        self._good = 0
        self.is_calm = False
