"""The registry of channels: one line per driver."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from marshmallow import Schema

from service.channels.base import Account, Driver, DriverContext
from service.channels.errors import BlockedError

DRIVERS = {
    "sandbox": "service.channels.drivers.sandbox:Sandbox",
    "whatsapp_cloud": "service.channels.drivers.whatsapp_cloud:WhatsAppCloud",
    "waha": "service.channels.drivers.waha:Waha",
    "apprise": "service.channels.drivers.apprise:Apprise",
    "twilio": "service.channels.drivers.twilio:Twilio",
    "africas_talking": "service.channels.drivers.africas_talking:AfricasTalking",
    "http_gateway": "service.channels.drivers.http_gateway:HttpGateway",
    "smpp": "service.channels.drivers.smpp:Smpp",
}
"""The module of each channel's driver, imported on first use."""

EXTRAS = {"apprise": "apprise", "smpp": "smpplib"}
"""The optional package that a channel needs."""

LINKED = frozenset({"smpp"})
"""The channels whose drivers send through a link (`LinkedDriver`)."""


class UnknownChannelError(Exception):
    """This channel does not exist."""


class NotInstalledError(BlockedError):
    """The package that the channel needs is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The channel {name!r} needs the package {EXTRAS[name]!r}, which is not installed. The"
            " operator can install it:"
            f" `pip install --require-hashes -r requirements-{name}.txt`.",
            code="not_installed",
        )


class Channels:
    """The channels of this process."""

    def __init__(self, context: DriverContext) -> None:
        self.context = context

    def names(self) -> tuple[str, ...]:
        """Return the installed channels."""
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
        """Return the schema of a session's settings on a channel."""
        return self.driver_class(name).Settings

    def secret_fields(self, name: str) -> frozenset[str]:
        """Return the names of a channel's secret settings."""
        declared = self.settings_schema(name)().fields
        return frozenset(
            field_name for field_name, field in declared.items() if field.metadata.get("secret")
        )

    def open(self, name: str, account: Account) -> Driver:
        """Create a driver for an account, without any request."""
        return self.driver_class(name)(account, self.context)


def _is_installed(name: str) -> bool:
    return name not in EXTRAS or find_spec(EXTRAS[name]) is not None
