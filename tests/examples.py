"""How many examples a test makes up: few as a rule, and more with `make test EXAMPLES=10`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

TIMES = int(os.environ.get("EXAMPLES") or 1)
"""How many times as many as usual."""


def made_up(usual: int, *, steps: int = 1) -> settings:
    """Return settings for that many examples, the same ones each time; none is ever too slow."""
    return settings(
        max_examples=usual * TIMES,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
