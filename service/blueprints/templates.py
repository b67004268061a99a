"""Routes of templates that a session's provider approved."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, reachable
from service.core import approved, sessions
from service.core.paging import Page
from service.core.tokens import Scope
from service.dispatch.upkeep import listing
from service.errors import ProviderError, TooManyQuestionsError
from service.models import Template
from service.schemas.templates import ApprovedTemplateSchema, TemplatePageSchema

blueprint = Blueprint("templates", __name__, description="Messages that WhatsApp approved")


@blueprint.get("/session/<id:session_id>/template", "listTemplates")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(TemplatePageSchema)
@blueprint.raises(ProviderError, TooManyQuestionsError)
@blueprint.answers(200, ApprovedTemplateSchema, "Template fetched successfully!", many=True)
def index(wanted: dict[str, Any], session_id: str) -> Page[Template]:
    """Fetch the templates of a session's account, as the provider listed them in the last hour.

    A channel without templates has none.
    """
    parts = crier()
    with parts.database.reading() as db:
        session = sessions.get(db, caller().client_id, reachable(session_id))
    listing.refresh(parts.accounts, parts.database, session, force=wanted["refresh"])
    with parts.database.reading() as db:
        return approved.page(db, session.id, wanted["page"])
