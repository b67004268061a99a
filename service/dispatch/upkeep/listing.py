"""Listings: the templates of a session, as its provider has them."""

from __future__ import annotations

from service.channels.base import TemplateInfo
from service.channels.errors import SendError
from service.channels.steps import Conversation
from service.core import approved, audit, template_holds
from service.core.accounts import Accounts
from service.core.vault import SealedError
from service.database import Database, now_ms
from service.errors import ProviderError
from service.models import Session


def refresh(
    accounts: Accounts, database: Database, session: Session, *, force: bool = False
) -> None:
    """Fetch the templates of a session again, unless that was done in the last hour.

    No transaction is open while the provider is asked. Raises ProviderError, TooManyQuestionsError.
    """
    if approved.is_fresh(session, now=now_ms()) and not force:
        return
    try:
        found = accounts.ask_for(session.client_id, question(accounts, session))
    except (SendError, SealedError) as error:
        raise ProviderError(f"The templates cannot be listed: {error}") from error
    keep(database, session, found)


def question(accounts: Accounts, session: Session) -> Conversation[list[TemplateInfo] | None]:
    """List a session's templates; None if its channel has none. Raises SendError, SealedError."""
    driver = accounts.open(session)
    return (yield from driver.templates()) if driver.has_templates else None


def keep(database: Database, session: Session, found: list[TemplateInfo] | None) -> None:
    """Store the templates that a provider listed, and let the broadcasts go on that may."""
    if found is None:
        return
    # What is kept of a provider's answer is nobody's action.
    with audit.doing(None), database.writing() as db:
        approved.replace(db, session.id, found, now=now_ms())
        template_holds.release(db, session.id, now=now_ms())
