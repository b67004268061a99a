"""Fittings: whether and how a session's channel can send a message to its recipients."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session as Db

from service.channels.base import Driver
from service.channels.content import Content, UnsupportedContentError
from service.channels.errors import BlockedError
from service.config import Settings
from service.core import (
    approved,
    contact_values,
    content,
    faults,
    gaps,
    personalisation,
    service_windows,
    variables,
)
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.personalisation import Personalisation, PersonalisedParts
from service.core.placeholders import Syntax
from service.core.recipient_lists import Recipients
from service.core.variables import UnusableVariablesError
from service.errors import InvalidError
from service.models import Session


@dataclass(frozen=True, slots=True)
class Fitted:
    """A message that a session can send: its parts, and the recipients with all their values."""

    session: Session
    driver: Driver
    people: Recipients
    content: dict[str, Any]
    personal: Personalisation | None
    worded: PersonalisedParts

    def columns(self) -> dict[str, Any]:
        """Return the columns of a broadcast that come from its session and message."""
        return {
            "session_id": self.session.id,
            "content": self.content,
            "personalisation": personalisation.keep(self.personal),
            "parts": len(self.worded.parts),
        }


@dataclass(frozen=True, slots=True)
class Fitting:
    """A message while it is checked. What is invalid in it is None, and the error is noted."""

    order: BroadcastRequest
    accounts: Accounts
    session: Session
    driver: Driver | None
    resolved: dict[str, Any] | None
    personal: Personalisation | None

    @classmethod
    def start(
        cls,
        db: Db,
        order: BroadcastRequest,
        session: Session,
        accounts: Accounts,
        wrong: dict[str, Any],
    ) -> Fitting:
        """Check what needs no recipients; add every fault to `wrong`."""
        driver = faults.noted(wrong, open_driver, accounts, session)
        if (template := order.message.get("template")) and driver and driver.has_templates:
            faults.noted(wrong, approved.check, db, session, template)
        resolved = faults.noted(wrong, _resolved, db, session.client_id, order, accounts.settings)
        personal = faults.noted(wrong, _personalisation, order)
        return cls(order, accounts, session, driver, resolved, personal)

    def finish(self, db: Db, people: Recipients | None, wrong: dict[str, Any]) -> Fitted | None:
        """Check the message for each recipient; add every fault to `wrong`."""
        if self.driver is None or self.resolved is None:
            return None
        said, personal = self.accounts.restored(self.resolved), self.personal
        parsed = personal and faults.noted(wrong, personal.parse_all, said)
        if personal and parsed and people:
            if self.order.within is None:
                names = personalisation.names_in(parsed.values())
                people = contact_values.supply(db, self.session.client_id, people, names)
            words = _Words(self.driver, said, self.accounts.settings.max_text_chars)
            personal = faults.noted(wrong, gaps.check, said, parsed, people, personal, words.plan)
        worded = None if wrong else faults.noted(wrong, cut, self.driver, said, personal)
        if wrong or not (people and worded):
            return None
        return Fitted(self.session, self.driver, people, self.resolved, personal, worded)


def open_driver(accounts: Accounts, session: Session) -> Driver:
    """Return a session's driver; raises InvalidError if its settings cannot be used."""
    try:
        return accounts.open(session)
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error


def _resolved(
    db: Db, client_id: str, order: BroadcastRequest, settings: Settings
) -> dict[str, Any]:
    """Look up the objects that a message names, and check its size."""
    message = order.message
    faults = {}
    if len(message.get("text") or "") > settings.max_text_chars:
        faults["message.text"] = [f"Longer than {settings.max_text_chars} characters."]
    if len(message.get("attachments") or ()) > settings.max_attachments:
        faults["message.attachments"] = [f"More than {settings.max_attachments} attachments."]
    # The message is stored as given, including fields that are not sent.
    size = size_of(message)
    if size > settings.max_message_bytes:
        most = f"{settings.max_message_bytes:,} bytes as JSON (MAX_MESSAGE_BYTES)"
        faults["message"] = [f"Must have at most {most}; it has {size:,}."]
    if faults:
        raise InvalidError(errors=faults)
    return content.resolve(db, client_id, message, within=order.within)


def size_of(message: dict[str, Any]) -> int:
    """Return the bytes of a message as JSON."""
    return len(json.dumps(message, ensure_ascii=False, default=str).encode())


def _personalisation(order: BroadcastRequest) -> Personalisation | None:
    """Return how a message is personalised, without its lengths; None if it is not."""
    if not order.is_personal:
        if order.variables or order.syntax != Syntax.BRACES:
            field = "variables" if order.variables else "syntax"
            reason = 'Needs "personalise": true, or a recipient with variables.'
            raise InvalidError(errors={field: [reason]})
        return None
    try:
        common = variables.settle(order.variables)
    except UnusableVariablesError as error:
        raise InvalidError(errors={"variables": [f"The broadcast {error}."]}) from error
    template = order.message.get("template") or {}
    return Personalisation(order.syntax, common, {}, bool(template.get("tidy")))


@dataclass(frozen=True, slots=True)
class _Words:
    """A personal message and the limits on its length."""

    driver: Driver
    said: Content
    most: int

    def plan(self, personal: Personalisation) -> PersonalisedParts:
        """Split the message into parts; raises UnsupportedContentError."""
        field = "message.text"
        if personal.lengths.get(field, 0) > self.most and len(self.said.text) <= self.most:
            reason = f"This service takes {self.most} characters (MAX_TEXT_CHARS)."
            raise UnsupportedContentError(field, reason)
        return service_windows.cut(self.driver, self.said, personal)


def cut(driver: Driver, said: Content, personal: Personalisation | None) -> PersonalisedParts:
    """Split the message into parts; raises InvalidError for unsupported content."""
    try:
        return service_windows.cut(driver, said, personal)
    except UnsupportedContentError as error:
        raise InvalidError(errors={error.field: [error.reason]}) from error
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error
