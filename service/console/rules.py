"""Rules: groups that have whoever matches, counted and looked at before they are stored."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, render_template
from sqlalchemy.orm import Session as Db

from service.blueprints import rosters
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms, notices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.core import groups, rules
from service.core.rules import Rule
from service.core.tokens import Scope
from service.errors import ConflictError, InvalidError
from service.models import Group
from service.schemas.groups import GroupChangeSchema, GroupPreviewRequestSchema, NewGroupSchema

blueprint = Section("rules", __name__)

_SHOWN: Final = 5


@blueprint.page("/groups/rule", Scope.SEND)
def new() -> str:
    """Ask for a name and a rule."""
    return _page(None, {}, {})


@blueprint.action("/groups/rule/preview", "group.preview")
def preview() -> str:
    """Count the contacts that a rule matches, and show the first ones."""
    try:
        rule = _rule()
    except InvalidError:
        matches = {}
    else:
        with crier().database.reading() as db:
            matches = _matches(db, rule)
    if request.headers.get("HX-Request"):
        return render_template("console/_matches.html", matches=matches)
    return _page(None, matches, {})


@blueprint.action("/groups/rule", "group.create")
def create() -> Response | tuple[str, int]:
    """Store a group of whoever matches a rule."""
    try:
        fields = forms.check(NewGroupSchema, {"name": forms.text("name"), "rule": _rule()})
        group_id = rosters.create(visitor().client_id, fields).id
    except (InvalidError, ConflictError) as error:
        return _page(None, {}, error.errors), error.status
    return _to(group_id)


@blueprint.page("/groups/<id:group_id>/rule", Scope.SEND)
def edit(group_id: str) -> str:
    """Ask for another name or rule."""
    with crier().database.reading() as db:
        group = groups.get(db, visitor().client_id, group_id)
        return _page(group, _matches(db, group.rule) if group.rule else {}, {})


@blueprint.action("/groups/<id:group_id>/rule", "group.update")
def update(group_id: str) -> Response | tuple[str, int]:
    """Give a group another name or rule."""
    with crier().database.reading() as db:
        group = groups.get(db, visitor().client_id, group_id)
    try:
        fields = forms.check(GroupChangeSchema, {"name": forms.text("name"), "rule": _rule()})
        rosters.update(group, fields)
    except (InvalidError, ConflictError) as error:
        return _page(group, {}, error.errors), error.status
    notices.give(_("Group saved."))
    return _to(group_id)


def _given() -> dict[str, Any]:
    return {"tags": forms.lines("tags"), "fields": forms.pairs("field", "value")}


def _rule() -> dict[str, Any]:
    """Return the rule of the form; raises InvalidError for one that everybody would match."""
    rule: dict[str, Any] = forms.check(GroupPreviewRequestSchema, {"rule": _given()})["rule"]
    return rule


def _matches(db: Db, rule: Rule) -> dict[str, Any]:
    """Return how many contacts match a rule, and the first of them."""
    first = rules.matching(db, visitor().client_id, rule).limit(_SHOWN)
    size = rules.count(db, visitor().client_id, rule)
    return {"size": size, "contacts": db.scalars(first).all()}


def _page(group: Group | None, matches: dict[str, Any], faults: dict[str, Any]) -> str:
    return render_template(
        "console/rule.html",
        group=group,
        name=forms.text("name") or (group.name if group else ""),
        rule=_given() if request.form else (group.rule or {} if group else {}),
        matches=matches,
        faults=faults,
    )


def _to(group_id: str) -> Response:
    return to_page("groups.show", group_id=group_id)
