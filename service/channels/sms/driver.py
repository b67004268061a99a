"""The base of SMS drivers."""

from __future__ import annotations

from typing import ClassVar

from service.channels.base import Account, TemplateInfo
from service.channels.content import Content, Part
from service.channels.errors import PermanentError
from service.channels.sms import messages, segments, senders
from service.channels.steps import Conversation, result


class SmsDriver:
    """A driver whose messages are one text each, and whose provider sends a repeated one again."""

    reaches_groups: ClassVar[bool] = False
    reaches_user_ids: ClassVar[bool] = False
    has_templates: ClassVar[bool] = False
    echoes_references: ClassVar[bool] = False

    def __init__(self, account: Account) -> None:
        self._settings = account.settings
        self._sender = str(account.settings.get("sender") or "")
        self._language = str(account.settings.get("language") or "")

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Convert the message to one text; raises UnsupportedContentError."""
        return messages.plan(content, self._settings)

    def segments(self, text: str) -> int | None:
        """Return how many segments a text has."""
        return segments.count(text, self._language).segments

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Return False: the provider sends a repeated request a second time."""
        return result(value=False)

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return none: SMS has no templates."""
        return result([])

    def _check_sender(self, recipient: str) -> None:
        """Raise PermanentError if the sender's name cannot reach a recipient."""
        if any(map(str.isalpha, self._sender)) and (country := senders.refusing(recipient)):
            reason = f"Carriers in {country} accept only numbers as senders."
            raise PermanentError(reason, code="sender")
