"""Route of the sandbox: the messages that it received."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, within
from service.channels.drivers import sandbox
from service.core import sessions
from service.core.paging import Page
from service.core.tokens import Scope
from service.schemas.pages import SandboxPageSchema
from service.schemas.sandbox import SandboxMessageSchema

blueprint = Blueprint("sandbox", __name__, description="A provider for trying things out")


@blueprint.get("/sandbox/message", "listSandboxMessages")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(SandboxPageSchema)
@blueprint.answers(200, SandboxMessageSchema, "Message fetched successfully!", many=True)
def index(wanted: dict[str, Any]) -> Page[dict[str, Any]]:
    """Fetch the messages that the sandbox received from your sessions, oldest first."""
    page, session_id = wanted["page"], wanted["session_id"] or within()
    with crier().database.reading() as db:
        mine = sessions.on_channel(db, caller().client_id, sandbox.Sandbox.name)
    if session_id:
        mine = [each for each in mine if each == session_id]
    store = crier().settings.sandbox_store
    total, _ = sandbox.received(store, mine, 0, 0)
    page.check(total)
    total, messages = sandbox.received(
        store, mine, page.offset, page.page_size, descending=page.descending
    )
    return Page(messages, total, page)
