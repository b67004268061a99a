"""The channels there are, and those that an operator has not installed."""

from __future__ import annotations

import pytest

from service.channels import registry
from service.channels.base import Account, Driver, DriverContext
from service.channels.registry import (
    DRIVERS,
    EXTRAS,
    Channels,
    NotInstalledError,
    UnknownChannelError,
)
from tests.channels.conftest import Memory


@pytest.fixture
def channels(context: DriverContext) -> Channels:
    return Channels(context)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package of the channel `apprise` be one that nobody has."""
    monkeypatch.setitem(registry.EXTRAS, "apprise", "no_package_of_this_name")


def test_every_driver_bears_the_name_of_its_channel(channels: Channels) -> None:
    for name in channels.names():
        assert channels.driver_class(name).name == name


def test_every_driver_has_all_that_drivers_have(channels: Channels) -> None:
    members = [*Driver.__annotations__, *(each for each in vars(Driver) if each[0] != "_")]
    for name in channels.names():
        driver = channels.driver_class(name)
        assert [each for each in members if not hasattr(driver, each)] == []


def test_what_is_not_installed_is_not_among_the_names(channels: Channels, missing: None) -> None:
    del missing
    assert channels.names() == tuple(name for name in DRIVERS if name != "apprise")


def test_what_is_not_installed_says_what_is_missing(channels: Channels, missing: None) -> None:
    del missing
    for use in (
        channels.driver_class,
        channels.settings_schema,
        lambda name: channels.open(name, Account("s", {}, Memory())),
    ):
        with pytest.raises(NotInstalledError) as caught:
            use("apprise")
        assert "no_package_of_this_name" in caught.value.reason
        assert "requirements-apprise.txt" in caught.value.reason


def test_an_unknown_channel_is_unknown(channels: Channels) -> None:
    with pytest.raises(UnknownChannelError):
        channels.driver_class("carrier_pigeon")


def test_only_channels_that_there_are_need_a_package() -> None:
    assert EXTRAS.keys() <= DRIVERS.keys()
