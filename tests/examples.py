"""How many examples a test makes up: 30 as a rule, and more with `make test EXAMPLES=10`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

TIMES = int(os.environ.get("EXAMPLES") or 1)
"""How many times as many as usual."""

FEW = "few"
"""The profile of all tests that do not say how many examples they need."""


# A busy machine may take its time over each example, and a database serves all of one test.
settings.register_profile(
    FEW,
    max_examples=30 * TIMES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def made_up(usual: int, *, steps: int = 1) -> settings:
    """Return settings for that many examples, the same ones each time; none is ever too slow."""
    return settings(
        settings.get_profile(FEW),
        max_examples=usual * TIMES,
        stateful_step_count=steps,
        derandomize=True,
        phases=[Phase.generate],
    )
