"""Routes of tokens: list, create, rotate and revoke them."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier
from service.core import token_uses, tokens
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.database import milliseconds, now_ms
from service.errors import ConflictError
from service.models import Token
from service.schemas.base import Shown
from service.schemas.tokens import (
    NewlyMadeTokenSchema,
    NewTokenSchema,
    RotationSchema,
    TokenSchema,
)

blueprint = Blueprint("tokens", __name__, description="What your programs authenticate with")


@blueprint.post("/token", "createToken")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(NewTokenSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(201, NewlyMadeTokenSchema, "Token created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Create a token. The answer shows it once, as `access_token`.

    It expires after `days`. In its last 30 days every answer to it has the header `Token-Expires`.
    """
    now, client_id = now_ms(), caller().client_id
    with crier().database.writing() as db:
        expires_at = tokens.in_days(body["days"], now=now)
        token, secret = tokens.create(db, client_id, body["name"], [body["scope"]], expires_at)
    return _shown(token, access_token=secret)


@blueprint.get("/token", "listTokens")
@blueprint.scope(Scope.ADMIN)
@blueprint.pages()
@blueprint.answers(200, TokenSchema, "Token fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch the tokens of the client and of its sessions, including ended ones."""
    with crier().database.reading() as db:
        return token_uses.page(db, caller().client_id, page).map(_shown)


@blueprint.get("/token/<id:token_id>", "getToken")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, TokenSchema, "Token fetched successfully!")
def show(token_id: str) -> Shown:
    """Fetch one token and when it was used last."""
    with crier().database.reading() as db:
        return _shown(tokens.get(db, caller().client_id, token_id))


@blueprint.post("/token/<id:token_id>/rotate", "rotateToken")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(RotationSchema, required=False)
@blueprint.raises(ConflictError)
@blueprint.answers(201, NewlyMadeTokenSchema, "Token rotated successfully!")
def rotate(body: dict[str, Any], token_id: str) -> Shown:
    """Replace a token by a new one with the same rights. The answer shows it once.

    The old token stays valid for `overlap` seconds, a day by default, so that programs can switch.
    `0` ends it at once.
    """
    now = now_ms()
    with crier().database.writing() as db:
        former = tokens.get(db, caller().client_id, token_id)
        expires_at = tokens.in_days(body["days"], now=now)
        overlap = milliseconds(body["overlap"])
        token, secret = tokens.rotate(db, former, expires_at, overlap=overlap, now=now)
    return _shown(token, access_token=secret)


@blueprint.delete("/token/<id:token_id>", "revokeToken")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, TokenSchema, "Token revoked successfully!")
def revoke(token_id: str) -> Shown:
    """Revoke a token at once. It stays in the list; repeating the request changes nothing."""
    with crier().database.writing() as db:
        token = tokens.get(db, caller().client_id, token_id)
        return _shown(tokens.revoke(db, token.id, now_ms()))


def _shown(token: Token, **added: Any) -> Shown:
    return Shown(token, status=tokens.status(token, now=now_ms()), **added)
