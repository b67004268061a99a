"""Listings: the templates of a session, as its provider has them."""

from __future__ import annotations

from service.channels.errors import SendError
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

    No transaction is open while the provider is asked. Raises ProviderError.
    """
    if approved.is_fresh(session, now=now_ms()) and not force:
        return
    try:
        driver = accounts.open(session)
        if not driver.has_templates:
            return
        found = accounts.ask(driver.templates())
    except (SendError, SealedError) as error:
        raise ProviderError(f"The templates cannot be listed: {error}") from error
    # What is kept of a provider's answer is nobody's action.
    with audit.doing(None), database.writing() as db:
        approved.replace(db, session.id, found, now=now_ms())
        template_holds.release(db, session.id, now=now_ms())
