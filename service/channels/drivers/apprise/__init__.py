"""Whatever Apprise reaches: SMS gateways, Telegram, e-mail and a hundred others."""

from service.channels.drivers.apprise.driver import Apprise, Settings

__all__ = ["Apprise", "Settings"]
