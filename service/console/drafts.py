"""Drafts: the message as the first recipient of the form would read it, asked for while typing."""

from __future__ import annotations

from typing import Any

from flask import render_template
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms
from service.console.access import Section, visitor
from service.core import audiences, broadcasts, contacts, drafts, groups, members, recipients
from service.core.audiences import Audience
from service.core.drafts import FirstRecipient
from service.core.numbering import Numbering, is_region
from service.core.paging import PageRequest
from service.core.placeholders import MalformedTextError
from service.core.tokens import Scope
from service.errors import NotFoundError

blueprint = Section("drafts", __name__)

_ONE = PageRequest(1, 1)


@blueprint.action("/compose/draft", "broadcast.preview", Scope.SEND)
def read() -> str:
    """Answer with the first recipient's text, and the values that it lacks."""
    text = request.form.get("text", "").strip()
    facts: dict[str, Any] = {"text": text, "draft": None, "problem": "", "first": None}
    with crier().database.reading() as db:
        first = _first(db)
        brings = bool(first and first.variables and forms.text("audience") == "list")
        if forms.text("personalise") or brings:
            facts["first"] = first
            try:
                facts["draft"] = drafts.read(db, visitor().client_id, text, first, _numbering())
            except MalformedTextError as error:
                facts["problem"] = str(error)
    return render_template("console/_draft.html", **facts)


def _numbering() -> Numbering:
    """Return how the form means numbers without a country code."""
    region = forms.text("default_region")
    said = {"default_region": region} if is_region(region) else {}
    return visitor().caller.numbering.merged(said)


def _first(db: Db) -> FirstRecipient | None:
    """Return the first recipient that the form names; None: none yet."""
    audience = forms.text("audience")
    if audience == "list":
        return _of_list(forms.document("first", {}))
    if audience == "groups":
        return _of_group(db, forms.text("group"))
    if audience == "broadcast":
        return _of_broadcast(db)
    written = recipients.read(forms.text("to"), most=1, numbering=_numbering())
    return FirstRecipient(written.unique[0], {}) if written.unique else None


def _of_list(row: Any) -> FirstRecipient | None:
    variables = row.get("variables") if isinstance(row, dict) else None
    return FirstRecipient(str(row.get("to")), variables) if isinstance(variables, dict) else None


def _of_group(db: Db, group_id: str) -> FirstRecipient | None:
    try:
        group = groups.get(db, visitor().client_id, group_id)
    except NotFoundError:
        return None
    found = members.page(db, group, _ONE).items
    return FirstRecipient(contacts.reached_by(found[0].phones), {}) if found else None


def _of_broadcast(db: Db) -> FirstRecipient | None:
    try:
        broadcast = broadcasts.get(db, visitor().client_id, forms.text("broadcast"))
    except NotFoundError:
        return None
    wanted = Audience(broadcast.id, request.form.getlist("statuses"))
    found = audiences.first(db, wanted)
    return FirstRecipient(*found) if found else None
