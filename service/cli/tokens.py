"""Commands about the tokens that client programs carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from service.cli.terminal import Group, Line, reading, writing
from service.core import clients, tokens
from service.core.tokens import Scope
from service.database import now_ms
from service.models import Token

token = Group("token", help="Create, list and revoke the tokens that client programs carry.")


@token.command("create")
@click.argument("client")
@click.option(
    "--name", type=Line(), default="default", show_default=True, help="What you will know it by."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=(Scope.SEND.value,),
    show_default=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="read: look; send: also broadcasts, files, contacts; admin: also sessions.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    show_default="it does not expire",
    help="Expire after so many days.",
)
def create(client: str, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Create a token for CLIENT and print it: it is not shown again."""
    expires_at = None
    if days:
        expires_at = round((datetime.now(UTC) + timedelta(days=days)).timestamp() * 1000)
    with writing() as db:
        owner = clients.get(db, client)
        _, secret = tokens.create(db, owner.id, name, scopes, expires_at)
    click.echo(secret)


@token.command("list")
@click.argument("client", required=False)
def index(client: str | None) -> None:
    """List the tokens of CLIENT, or of all clients; their secrets are not known any more."""
    with reading() as db:
        owner = clients.get(db, client).id if client else None
        for each in tokens.every(db, owner):
            click.echo(_line(each))


@token.command("revoke")
@click.argument("token")
def revoke(token: str) -> None:
    """End a TOKEN at once, named by its id, its beginning (`crier_a1b2c3`) or itself."""
    with writing() as db:
        revoked = tokens.revoke(db, token, now_ms())
    click.echo(f"Token {revoked.prefix}… is revoked.")


def _line(token: Token) -> str:
    return f"{token.id}  {token.prefix}…  {token.name}  {token.scopes}  {_state(token)}"


def _state(token: Token) -> str:
    if token.revoked_at:
        return "revoked"
    if not token.expires_at:
        return "does not expire"
    return f"until {datetime.fromtimestamp(token.expires_at / 1000, UTC):%Y-%m-%d}"
