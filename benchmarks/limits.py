"""How many files and sockets a process may have open."""

from __future__ import annotations

import resource

_USUAL, _ENOUGH = 1_024, 16_384


def as_usual() -> None:
    """Start what follows with the soft limit that shells and systemd give."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_USUAL, hard), hard))


def most() -> int:
    """Return how many a process may have, at most as many as anything here needs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if hard == resource.RLIM_INFINITY else min(_ENOUGH, hard)


def at_most() -> None:
    """Let this process have as many as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
