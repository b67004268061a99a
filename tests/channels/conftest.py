"""What the tests of channels share: a provider, and a driver for each channel that calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.channels.base import Account, Driver, Media, MediaKind, Surroundings
from service.channels.registry import Channels
from tests.provider import Provider

SETTINGS: dict[str, dict[str, Any]] = {
    "whatsapp_cloud": {"phone_number_id": "106540352242922", "access_token": "EAAG-token"},
    "waha": {"api_key": "waha-key"},
}

Opened = Callable[..., Driver]


class Memory:
    """MediaIds for one session, and what was put into it."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.lifetimes: list[float] = []

    def get(self, attachment_id: str) -> str | None:
        return self.ids.get(attachment_id) or None

    def reserve(self, attachment_id: str, *, seconds: float) -> bool:
        del seconds
        if attachment_id in self.ids:
            return False
        self.ids[attachment_id] = ""
        return True

    def put(self, attachment_id: str, provider_id: str, *, lifetime: float) -> None:
        self.ids[attachment_id] = provider_id
        self.lifetimes.append(lifetime)

    def forget(self, attachment_id: str, provider_id: str = "") -> None:
        if self.ids.get(attachment_id) == provider_id:
            del self.ids[attachment_id]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path, private_addresses=True)


@pytest.fixture
def media_ids() -> Memory:
    return Memory()


@pytest.fixture
def opened(provider: Provider, surroundings: Surroundings, media_ids: Memory) -> Iterator[Opened]:
    """Open a driver by the channel's name; `timeout` in seconds."""
    drivers: list[Driver] = []

    def open_driver(channel: str, timeout: float = 30.0, **settings: Any) -> Driver:
        channels = Channels(replace(surroundings, send_timeout=timeout))
        raw = {**SETTINGS[channel], "base_url": provider.url, **settings}
        loaded = channels.settings_schema(channel)().load(raw)
        drivers.append(channels.open(channel, Account("64ac-session", loaded, media_ids)))
        return drivers[-1]

    yield open_driver
    for driver in drivers:
        driver.close()


def picture(folder: Path, **changes: Any) -> Media:
    """Return an attachment whose file is there."""
    path = folder / "JCEVJKGEFKSMR8W.jpeg"
    if not path.exists():
        path.write_bytes(b"\xff\xd8\xff\xe0" + b"picture" * 1000)
    described = Media(
        attachment_id="64ac311eee05a1a2c27fbdb5",
        kind=MediaKind.IMAGE,
        mimetype="image/jpeg",
        filename="cake.jpeg",
        path=path,
        size=path.stat().st_size,
        url="https://crier.example/public/attachments/JCEVJKGEFKSMR8W.jpeg",
    )
    return replace(described, **changes)
