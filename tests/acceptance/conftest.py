"""What whole stories are told with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from service.app import Application
from service.dispatch.sending import revocations
from tests.conftest import ROOT
from tests.programs import Program
from tests.provider import Provider
from tests.sending import QUICK, Sending
from tests.waiting import LIMIT


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Return a provider that lies when it is told to."""
    with Provider() as running:
        yield running


@pytest.fixture(autouse=True)
def patient_opt_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an opt-out wait until all dispatchers of the test have heard of it."""
    defaults = revocations.await_end.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "longest", LIMIT)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing take seconds that only spares a provider."""
    monkeypatch.setattr("service.dispatch.sending.limits.PATIENCE", 0.2)


@pytest.fixture
def quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes that chaos starts again and again load their modules once."""

    def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Program:
        _python, _module, *words = command
        with log.open("ab") as output:
            return Program(words, ROOT, environment, (output.fileno(), output.fileno()))

    monkeypatch.setattr("chaos.supervisor.start", start)


@pytest.fixture
def sending(make_app: Callable[..., Application], provider: Provider) -> Sending:
    """Return a client of the service whose sessions are on the provider."""
    return Sending(make_app(**QUICK), provider)
