"""Routes of the audit log: who did what, with which token and from where."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier
from service.core import audit_entries
from service.core.audit_entries import AuditFilter
from service.core.paging import Page
from service.core.tokens import Scope
from service.models import ActionSource, AuditEntry, Token
from service.schemas.audit import AuditEntrySchema, AuditPageSchema
from service.schemas.base import Shown

blueprint = Blueprint("audit", __name__, description="Who did what, with which token")


@blueprint.get("/audit", "listAuditEntries")
@blueprint.scope(Scope.ADMIN)
@blueprint.pages(AuditPageSchema)
@blueprint.answers(200, AuditEntrySchema, "Audit log fetched successfully!", many=True)
def index(query: dict[str, Any]) -> Page[Shown]:
    """Fetch what was done by your tokens, in your console, and by the operator, newest first.

    Each request that changed something has one entry, which was stored in the same transaction.
    Entries contain no message texts and no complete phone numbers.
    """
    wanted = AuditFilter(caller().client_id, **query["filter"])
    with crier().database.reading() as db:
        page = audit_entries.page(db, wanted, query["page"])
        tokens = audit_entries.tokens_of(db, page.items)
    return page.map(lambda entry: shown(entry, tokens.get(entry.token_id or "")))


def shown(entry: AuditEntry, token: Token | None) -> Shown:
    """Return an entry as its client sees it, without the operator's machines."""
    return Shown(
        entry,
        token=token and f"{token.name} ({token.prefix}…)",
        address=None if entry.source == ActionSource.COMMAND else entry.address,
        changed=entry.changed.split(", ") if entry.changed else [],
    )
