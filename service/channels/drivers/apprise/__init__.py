"""Apprise: SMS gateways, Telegram, e-mail and a hundred other services."""

from service.channels.drivers.apprise.driver import Apprise, Settings

__all__ = ["Apprise", "Settings"]
