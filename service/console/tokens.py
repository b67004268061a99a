"""Tokens: what client programs sign in with, made here and ended here."""

from __future__ import annotations

from flask import Response, render_template

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms, listing, notices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.core import token_uses, tokens
from service.core.tokens import Scope
from service.database import milliseconds, now_ms
from service.errors import InvalidError
from service.models import Token
from service.schemas.base import Shown

blueprint = Section("tokens", __name__)

_LONGEST_NAME = 200
_OVERLAPS = {0: 0, 1: 86_400, 7: 7 * 86_400}
"""Seconds for which a replaced token stays valid, by the days that the form says."""


@blueprint.page("/tokens")
def index() -> str:
    """Show the client's tokens, never their secrets."""
    return _page()


@blueprint.action("/tokens", "token.create", Scope.ADMIN)
def create() -> str:
    """Make a token, and show its secret this once."""
    name = forms.text("name")[:_LONGEST_NAME] or "default"
    days = forms.number("days", int) or tokens.USUAL_DAYS
    if not 0 < days <= tokens.MOST_DAYS:
        raise InvalidError(errors={"days": [_("Enter a number of days from 1 to 36500.")]})
    now, client_id = now_ms(), visitor().client_id
    with crier().database.writing() as db:
        _token, secret = tokens.create(
            db, client_id, name, [forms.text("scope")], tokens.in_days(int(days), now=now)
        )
    return _page(secret)


@blueprint.action("/tokens/<id:token_id>/rotate", "token.rotate", Scope.ADMIN)
def rotate(token_id: str) -> str:
    """Replace a token, and show the secret of the new one this once."""
    now, overlap = now_ms(), _OVERLAPS.get(int(forms.number("overlap", int) or 0), 0)
    with crier().database.writing() as db:
        former = tokens.get(db, visitor().client_id, token_id)
        _token, secret = tokens.rotate(
            db, former, tokens.in_days(now=now), overlap=milliseconds(overlap), now=now
        )
    return _page(secret)


@blueprint.action("/tokens/<id:token_id>/revoke", "token.revoke", Scope.ADMIN)
def revoke(token_id: str) -> Response:
    """End a token at once, and the sign-ins that came from it."""
    with crier().database.writing() as db:
        token = tokens.get(db, visitor().client_id, token_id)
        tokens.revoke(db, token.id, now_ms())
    notices.give(_("Token revoked."))
    return to_page("tokens.index")


def _shown(token: Token) -> Shown:
    return Shown(token, status=tokens.status(token, now=now_ms()))


def _page(secret: str = "") -> str:
    with crier().database.reading() as db:
        page = token_uses.page(db, visitor().client_id, listing.wanted())
    return render_template(
        "console/tokens.html",
        page=page.map(_shown),
        secret=secret,
        scopes=[*Scope],
        days=tokens.USUAL_DAYS,
        overlaps=[*_OVERLAPS],
        address=request.root_url.rstrip("/"),
    )
