"""Routes of opt-outs: people to whom a session sends nothing."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, reachable
from service.core import opt_outs
from service.core.deliveries.transitions import OPTED_OUT
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.database import now_ms
from service.models import OptOut
from service.schemas.base import Shown
from service.schemas.opt_outs import NewOptOutSchema, OptOutSchema

blueprint = Blueprint("opt-outs", __name__, description="People who want no more messages")


@blueprint.post("/session/<id:session_id>/opt-out", "createOptOut")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.takes(NewOptOutSchema)
@blueprint.answers(201, OptOutSchema, "Opt-out created successfully!")
def create(body: dict[str, Any], session_id: str) -> Shown:
    """Add an opt-out: this session sends nothing more to that person.

    Waiting and future deliveries to them fail with `opted_out`, without being sent. A retry leaves
    them out.
    """
    with crier().database.writing() as db:
        recipient, now = body["recipient"], now_ms()
        return _shown(
            opt_outs.add(db, caller().client_id, reachable(session_id), recipient, now=now)
        )


@blueprint.get("/session/<id:session_id>/opt-out", "listOptOuts")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages()
@blueprint.answers(200, OptOutSchema, "Opt-out fetched successfully!", many=True)
def index(page: PageRequest, session_id: str) -> Page[Shown]:
    """Fetch all opt-outs, reported by the provider or added by you, oldest first."""
    with crier().database.reading() as db:
        return opt_outs.page(db, caller().client_id, reachable(session_id), page).map(_shown)


@blueprint.delete("/session/<id:session_id>/opt-out/<recipient>", "deleteOptOut")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.answers(200, OptOutSchema, "Opt-out deleted successfully!")
def delete(session_id: str, recipient: str) -> Shown:
    """Remove an opt-out at the person's request. The provider may still refuse messages."""
    with crier().database.writing() as db:
        return _shown(opt_outs.delete(db, caller().client_id, reachable(session_id), recipient))


def _shown(opt_out: OptOut) -> Shown:
    return Shown(opt_out, reason=OPTED_OUT)
