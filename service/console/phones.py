"""Phones: what the sandbox received, on the telephone of each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import render_template
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.channels.drivers import sandbox
from service.console import bubbles, listing
from service.console.access import Section, visitor
from service.core import attachments, sessions

blueprint = Section("phones", __name__)


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
    """Show one telephone with what it received."""
    store = crier().settings.sandbox_store
    with crier().database.reading() as db:
        mine = _sessions(db)
        messages = sandbox.conversation(store, mine, number)
        shown = [_shown(message, _files(db, messages)) for message in messages]
    return render_template(
        listing.template("phone"), number=number, messages=shown, phones=sandbox.phones(store, mine)
    )


def _sessions(db: Db) -> Sequence[str]:
    return sessions.on_channel(db, visitor().client_id, sandbox.Sandbox.name)


def _files(db: Db, messages: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the file names of the attachments in messages, by id."""
    wanted = {each["body"].get("attachment_id") for each in messages} - {None}
    return attachments.files(db, visitor().client_id, wanted)


def _shown(message: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    return {
        "at": message["received_at"],
        "bubbles": bubbles.of_sandbox(message["kind"], message["body"], files),
        "is_mine": message["kind"] == "reply",
    }
