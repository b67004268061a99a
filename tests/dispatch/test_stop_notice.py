"""The notice of a stopping process that must wait for sends to finish."""

from __future__ import annotations

import threading

import pytest

from service.dispatch import stop_notice
from tests.waiting import LIMIT


def test_what_takes_longer_than_a_moment_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_notice, "_A_MOMENT", 0.01)
    said: list[str] = []
    told = threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        told.set()

    with stop_notice.shown(say, 2.5):
        assert told.wait(LIMIT)
    assert said == ["Finishing messages that are being sent; this takes 2.5 seconds at most."]


def test_what_ends_in_a_moment_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_notice, "_A_MOMENT", LIMIT)
    said: list[str] = []
    before = set(threading.enumerate())
    with stop_notice.shown(said.append, 2.5):
        [timer] = set(threading.enumerate()) - before
    timer.join(LIMIT / 2)
    assert not timer.is_alive()
    assert said == []
