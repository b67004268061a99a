"""How many files and sockets a process may have open."""

from __future__ import annotations

import resource

_USUAL = 1_024


def as_usual() -> None:
    """Start what follows with the soft limit that shells and systemd give."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_USUAL, hard), hard))


def at_most() -> None:
    """Let this process have as many as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
