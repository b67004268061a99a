"""What the tests of channels share: drivers, a memory of uploads, and a provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.channels.base import Account, Driver, DriverContext
from service.channels.content import Media, MediaKind
from service.channels.registry import Channels
from tests.provider import Provider
from tests.waiting import LIMIT

BASE_URL = "https://provider.example"
SETTINGS: dict[str, dict[str, Any]] = {
    "whatsapp_cloud": {
        "phone_number_id": "106540352242922",
        "access_token": "EAAG-token",
        "base_url": BASE_URL,
    },
    "waha": {"api_key": "waha-key", "base_url": BASE_URL},
}

Opened = Callable[..., Driver]


class Memory:
    """MediaIds for one session, and what was put into it."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.lifetimes: list[float] = []

    def known(self, attachment_id: str) -> str | None:
        return self.ids.get(attachment_id) or None

    def get(self, attachment_id: str) -> str | None:
        return self.known(attachment_id)

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
def context(tmp_path: Path) -> DriverContext:
    return DriverContext(
        tmp_path, private_addresses=True, connect_timeout=LIMIT, send_timeout=LIMIT
    )


@pytest.fixture
def media_ids() -> Memory:
    return Memory()


@pytest.fixture
def opened(context: DriverContext, media_ids: Memory) -> Opened:
    """Open a driver by the channel's name; nobody is at its address unless the test says so."""

    def open_driver(channel: str, **settings: Any) -> Driver:
        channels = Channels(context)
        loaded = channels.settings_schema(channel)().load({**SETTINGS[channel], **settings})
        return channels.open(channel, Account("64ac-session", loaded, media_ids))

    return open_driver


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
