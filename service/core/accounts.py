"""Accounts: opens a session's driver with decrypted settings and remembered uploads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from service.channels.base import Account, Driver, DriverContext, MediaIds
from service.channels.content import Content
from service.channels.conversations import talk
from service.channels.places import SharedPlaces
from service.channels.registry import Channels
from service.channels.steps import Conversation, T
from service.config import Settings
from service.core import content, personalisation, service_windows
from service.core.inbox_sessions import InboxSession
from service.core.personalisation import PersonalisedParts
from service.core.vault import Vault
from service.errors import TooManyQuestionsError
from service.models import Broadcast, Session

_QUESTIONS: Final = 4
"""Requests of a process that may wait for providers at the same time: half of the default
`WEB_THREADS`. One client has at most half of them."""


class Accounts:
    """Opens drivers for sessions. `media` returns the remembered uploads of a session."""

    def __init__(self, settings: Settings, vault: Vault, media: Callable[[str], MediaIds]) -> None:
        self.settings = settings
        self.channels = Channels(driver_context(settings))
        self.hasty = _hasty(self.channels.context, settings.check_timeout)
        self._asking = SharedPlaces(_QUESTIONS)
        self._vault = vault
        self._media = media

    def open(self, session: Session) -> Driver:
        """Create the driver of a session, without any request."""
        return self.channels.open(session.channel, self._account(session))

    def ask(self, question: Conversation[T]) -> T:
        """Run a driver's conversation, with `CHECK_TIMEOUT` per step.

        Raises what the conversation raises.
        """
        return talk(question, self.hasty)

    def ask_for(self, client_id: str, question: Conversation[T]) -> T:
        """Ask like `ask` during a request of a client, whose thread waits for the answer.

        Raises TooManyQuestionsError if too many threads wait already.
        """
        with self._place(client_id):
            return self.ask(question)

    @contextmanager
    def _place(self, client_id: str) -> Iterator[None]:
        if not self._asking.enter(client_id):
            raise TooManyQuestionsError
        try:
            yield
        finally:
            self._asking.leave(client_id)

    def opened(self, secrets: str) -> dict[str, Any]:
        """Return stored secrets, decrypted; raises SealedError without their key."""
        return self._vault.decrypt(secrets)

    def settings_of(self, session: Session | InboxSession) -> dict[str, Any]:
        """Return all settings of a session, the secret ones decrypted."""
        secrets = self._vault.decrypt(session.secrets) if session.secrets else {}
        return {**session.settings, **secrets}

    def _account(self, session: Session) -> Account:
        media = self._media(session.id)
        return Account(session.id, self.settings_of(session), media, session.client_id)

    def worded(self, broadcast: Broadcast, driver: Driver) -> PersonalisedParts:
        """Return the unfilled parts of a broadcast; raises UnsupportedContentError."""
        personal = personalisation.restore(broadcast.personalisation)
        return service_windows.cut(driver, self.restored(broadcast.content), personal)

    def worded_content(
        self, broadcast: Broadcast, driver: Driver, content: Content
    ) -> PersonalisedParts:
        """Return the parts of a message, or of one form of it, with the gaps of a broadcast."""
        personal = personalisation.restore(broadcast.personalisation)
        return PersonalisedParts(driver, content, personal)

    def restored(self, resolved: dict[str, Any]) -> Content:
        """Return resolved content for drivers."""
        folder: Path = self.settings.attachments_dir
        return content.restore(resolved, folder, self.settings.public_url)


def driver_context(settings: Settings) -> DriverContext:
    """Return the settings that drivers need."""
    return DriverContext(
        sandbox_store=settings.sandbox_store,
        sandbox_bytes=settings.sandbox_bytes,
        connect_timeout=settings.connect_timeout,
        send_timeout=settings.send_timeout,
        proxy=settings.outgoing_proxy,
        private_addresses=settings.private_addresses,
        public_url=settings.public_url,
    )


def _hasty(usual: DriverContext, longest: float) -> DriverContext:
    """Return the same context with timeouts of at most `longest` seconds."""
    return replace(
        usual,
        connect_timeout=min(usual.connect_timeout, longest),
        send_timeout=min(usual.send_timeout, longest),
    )
