"""The channels there are: a line each."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from marshmallow import Schema

from service.channels.base import Account, BlockedError, Driver, DriverContext

DRIVERS = {
    "sandbox": "service.channels.drivers.sandbox:Sandbox",
    "whatsapp_cloud": "service.channels.drivers.whatsapp_cloud:WhatsAppCloud",
    "waha": "service.channels.drivers.waha:Waha",
    "apprise": "service.channels.drivers.apprise:Apprise",
}
"""Where each channel's driver is; it is imported when a session first names the channel."""

EXTRAS = {"apprise": "apprise"}
"""The package that a channel needs and that is not installed by itself."""


class UnknownChannelError(Exception):
    """There is no such channel."""


class NotInstalledError(BlockedError):
    """A package that the channel needs is missing."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The channel {name!r} needs the package {EXTRAS[name]!r}, which is not installed here:"
            " the operator adds it with"
            f" `pip install --require-hashes -r requirements-{name}.txt`.",
            code="not_installed",
        )


class Channels:
    """The channels, open for the accounts of this process."""

    def __init__(self, surroundings: DriverContext) -> None:
        self.surroundings = surroundings

    def names(self) -> tuple[str, ...]:
        """Return the names that a session's `channel` may have here."""
        return tuple(name for name in DRIVERS if _is_installed(name))

    def driver_class(self, name: str) -> type[Driver]:
        """Return the driver of a channel; raises UnknownChannelError, NotInstalledError."""
        if name not in DRIVERS:
            raise UnknownChannelError(name)
        if not _is_installed(name):
            raise NotInstalledError(name)
        module, _, attribute = DRIVERS[name].partition(":")
        return cast("type[Driver]", getattr(import_module(module), attribute))

    def settings_schema(self, name: str) -> type[Schema]:
        """Return what the settings of a session on this channel must look like."""
        return self.driver_class(name).Settings

    def secret_fields(self, name: str) -> frozenset[str]:
        """Return the settings of a channel that are never shown again."""
        declared = self.settings_schema(name)().fields
        return frozenset(
            field_name for field_name, field in declared.items() if field.metadata.get("secret")
        )

    def open(self, name: str, account: Account) -> Driver:
        """Make a driver for one account; no call goes out yet."""
        return self.driver_class(name)(account, self.surroundings)


def _is_installed(name: str) -> bool:
    return name not in EXTRAS or find_spec(EXTRAS[name]) is not None
