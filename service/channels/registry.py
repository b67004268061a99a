"""The channels there are: a line each."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from marshmallow import Schema

from service.channels.base import Account, Driver, Surroundings

DRIVERS = {
    "sandbox": "service.channels.drivers.sandbox:Sandbox",
    "whatsapp_cloud": "service.channels.drivers.whatsapp_cloud:WhatsAppCloud",
    "waha": "service.channels.drivers.waha:Waha",
}
"""Where each channel's driver is; it is imported when a session first names the channel."""


class UnknownChannelError(Exception):
    """There is no such channel."""


class Channels:
    """The channels, open for the accounts of this process."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings

    def names(self) -> tuple[str, ...]:
        """Return the names that a session's `channel` may have."""
        return tuple(DRIVERS)

    def driver_class(self, name: str) -> type[Driver]:
        """Return the driver of a channel; raises UnknownChannelError."""
        if name not in DRIVERS:
            raise UnknownChannelError(name)
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
