"""Sessions that were released, and held again at once."""

from __future__ import annotations

from dataclasses import dataclass, field

LONGEST_WAIT = 3_600.0
"""Seconds between two releases, at most."""

_REMEMBERED = 3
"""A session that was not held again for this many times its last wait starts anew."""


@dataclass(frozen=True, slots=True)
class _Release:
    """When a session may be released again, and until when this release counts."""

    wait: float
    next_at: float
    forgotten_at: float


@dataclass(slots=True)
class Relapses:
    """Waits that double each time a session is released and held again.

    A check may find nothing wrong with an account that cannot send: Meta answers as usual for a
    number whose payment method does not work. Each release then costs refused messages.
    Times are in seconds of one clock; `first` is the first wait.
    """

    first: float
    _releases: dict[str, _Release] = field(default_factory=dict)

    def may_release(self, session_id: str, now: float) -> bool:
        """Return whether a session has waited long enough since its last release."""
        last = self._releases.get(session_id)
        return last is None or now >= last.next_at

    def note_release(self, session_id: str, now: float) -> None:
        """Remember a release; forget those after which all went well."""
        self._releases = {
            id_: each for id_, each in self._releases.items() if now < each.forgotten_at
        }
        last = self._releases.get(session_id)
        wait = min(2 * last.wait, LONGEST_WAIT) if last else self.first
        self._releases[session_id] = _Release(wait, now + wait, now + _REMEMBERED * wait)
