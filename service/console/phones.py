"""Phones: the messages that the sandbox received, on a phone for each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, render_template
from sqlalchemy.orm import Session as Db

from service.blueprints import sandbox as api_sandbox
from service.blueprints.context import crier
from service.channels.drivers import sandbox
from service.console import bubbles, forms, listing
from service.console.access import Section, to_page, visitor
from service.console.bubbles import Bubble
from service.console.language import gettext as _
from service.core import attachments, inbox_sessions, replies, sessions, usages
from service.core.paging import PageRequest
from service.core.replies import ReplyFilter
from service.database import now_ms
from service.dispatch.sending.revocations import await_end
from service.errors import InvalidError
from service.schemas.sandbox import SandboxReplySchema

blueprint = Section("phones", __name__)

_MOST_REPLIES = 100


@blueprint.page("/phones")
def index() -> str:
    """Show the telephones that the sandbox has written to, the latest first."""
    with crier().database.reading() as db:
        mine = _sessions(db)
    phones = sandbox.phones(crier().settings.sandbox_store, mine)
    return render_template(
        listing.template("phones"), phones=phones, magic=sandbox.MAGIC, has_sandbox=bool(mine)
    )


@blueprint.page("/phones/<number>")
def show(number: str) -> str:
    """Show one phone with the messages it received."""
    store = crier().settings.sandbox_store
    with crier().database.reading() as db:
        mine = _sessions(db)
        messages = sandbox.conversation(store, mine, number)
        files = _files(db, messages)
        shown = [_shown(message, files) for message in messages] + _replies(db, number, mine)
    shown.sort(key=lambda each: each["at"])
    return render_template(
        listing.template("phone"), number=number, messages=shown, phones=sandbox.phones(store, mine)
    )


@blueprint.action("/phones/<number>/reply", "sandbox_reply.create")
def reply(number: str) -> Response:
    """Write back as the owner of a telephone would, to the session that wrote last."""
    given = forms.check(SandboxReplySchema, {"recipient": number, "text": forms.text("text")})
    message = api_sandbox.inbound(given)
    with crier().database.writing() as db:
        session = sessions.get(db, visitor().client_id, _last_session(db, number))
        revoked = replies.receive(db, inbox_sessions.get(db, session.id), [message], now=now_ms())
        usages.note(db, session.client_id, sandbox_replies=1)
    await_end(crier().database, revoked)
    return to_page("phones.show", number=number)


def _last_session(db: Db, number: str) -> str:
    """Return the session from which a telephone got its last message; raises InvalidError."""
    mine = _sessions(db)
    received = sandbox.conversation(crier().settings.sandbox_store, mine, number)
    found = [str(message["session_id"]) for message in received[-1:]]
    if not (found or mine):
        raise InvalidError(errors={"session_id": [_("There is no sandbox session yet")]})
    return (found or list(mine))[0]


def _replies(db: Db, number: str, mine: Sequence[str]) -> list[dict[str, Any]]:
    """Return the replies of a phone's owner to sessions on the sandbox."""
    wanted, newest = ReplyFilter((number,)), PageRequest(1, _MOST_REPLIES, descending=True)
    written = replies.page(db, visitor().client_id, wanted, newest).items
    return [
        {"at": each.written_at, "bubbles": [Bubble("text", each.text or "")], "is_mine": True}
        for each in written
        if each.session_id in mine
    ]


def _sessions(db: Db) -> Sequence[str]:
    return sessions.on_channel(db, visitor().client_id, sandbox.Sandbox.name)


def _files(db: Db, messages: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the file names of the attachments in messages, by id."""
    wanted = {each["body"].get("attachment_id") for each in messages} - {None}
    found = attachments.some(db, visitor().client_id, wanted)
    return {file_id: attachments.file_of(file) for file_id, file in found.items()}


def _shown(message: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    return {
        "at": message["received_at"],
        "bubbles": bubbles.of_sandbox(message["kind"], message["body"], files),
        "is_mine": False,
    }
