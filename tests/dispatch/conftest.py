"""What the tests of dispatching stand on."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from service import logs
from service.channels.registry import DRIVERS
from service.config import Settings
from service.database import Database
from service.dispatch.sending import ledger
from tests.probe import Probe, Stage
from tests.world import World


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    """Return a client on a fresh database of either kind."""
    logs.configure(settings)
    return World(settings, database)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return what the driver of the channel `probe` does."""
    monkeypatch.setitem(DRIVERS, "probe", "tests.probe:Probe")
    monkeypatch.setattr(Probe, "stage", Stage(), raising=False)
    return Probe.stage


def marked(folder: Path, dispatcher_id: str) -> set[str]:
    """Return what stands in the ledger of a process that lives, past its lock."""
    with TemporaryDirectory() as dead:
        shutil.copy(folder / dispatcher_id, dead)
        found = ledger.under_way(Path(dead), dispatcher_id)
    assert found is not None
    return found
