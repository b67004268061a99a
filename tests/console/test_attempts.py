"""Attempts to sign in that failed."""

from __future__ import annotations

import pytest

from service.console import attempts
from service.console.attempts import Attempts, TooManyAttemptsError


def test_failures_are_counted_by_address_and_forgotten() -> None:
    counted = Attempts()
    for _ in range(attempts.MOST):
        counted.note("192.0.2.1", now=0)
    counted.check("192.0.2.2", now=0)
    with pytest.raises(TooManyAttemptsError):
        counted.check("192.0.2.1", now=attempts.WINDOW - 1)
    counted.check("192.0.2.1", now=attempts.WINDOW)
