"""Tokens: what client programs sign in with, made here and ended here."""

from __future__ import annotations

from flask import Response, render_template

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms, notices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.core import owned, tokens
from service.core.tokens import Scope
from service.database import now_ms
from service.errors import InvalidError
from service.models import Token

blueprint = Section("tokens", __name__)

_LONGEST_NAME = 200
_MOST_DAYS = 36_500


@blueprint.page("/tokens")
def index() -> str:
    """Show the client's tokens, never their secrets."""
    return _page()


@blueprint.action("/tokens", "token.create", Scope.ADMIN)
def create() -> str:
    """Make a token, and show its secret this once."""
    name = forms.text("name")[:_LONGEST_NAME] or "default"
    days = forms.number("days", int) or tokens.USUAL_DAYS
    if not 0 < days <= _MOST_DAYS:
        raise InvalidError(errors={"days": [_("Enter a number of days from 1 to 36500.")]})
    now = now_ms()
    with crier().database.writing() as db:
        _token, secret = tokens.create(
            db, visitor().client_id, name, [forms.text("scope")], tokens.in_days(int(days), now=now)
        )
    return _page(secret)


@blueprint.action("/tokens/<id:token_id>/revoke", "token.revoke", Scope.ADMIN)
def revoke(token_id: str) -> Response:
    """End a token at once, and whoever is signed in by it."""
    with crier().database.writing() as db:
        owned.get(db, Token, visitor().client_id, token_id)
        tokens.revoke(db, token_id, now_ms())
    notices.give(_("Token revoked."))
    return to_page("tokens.index")


def _page(secret: str = "") -> str:
    with crier().database.reading() as db:
        mine = tokens.every(db, visitor().client_id)
    return render_template(
        "console/tokens.html",
        tokens=mine,
        secret=secret,
        scopes=[*Scope],
        days=tokens.USUAL_DAYS,
        now=now_ms(),
        address=request.root_url.rstrip("/"),
    )
