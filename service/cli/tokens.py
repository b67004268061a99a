"""Commands for the tokens of clients."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from service.cli.terminal import Group, Line, reading, writing
from service.core import clients, tokens
from service.core.tokens import Scope
from service.database import now_ms
from service.models import Token

token = Group("token", help="Create, list and revoke the tokens of clients.")


@token.command("create")
@click.argument("client")
@click.option(
    "--name",
    type=Line(),
    default="default",
    show_default=True,
    help="A name for the list of tokens.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=(Scope.SEND.value,),
    show_default=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="read: only read; send: also broadcasts, files, contacts; admin: also sessions.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=tokens.USUAL_DAYS,
    show_default=True,
    help="Expire after so many days.",
)
@click.option("--forever", is_flag=True, help="Do not expire.")
def create(client: str, name: str, scopes: tuple[str, ...], days: int, forever: bool) -> None:  # noqa: FBT001 - click passes a flag so
    """Create a token for CLIENT and print it once.

    In its last 30 days, answers to it have a header `Token-Expires`.
    """
    expires_at = None if forever else tokens.in_days(days, now=now_ms())
    with writing() as db:
        owner = clients.get(db, client)
        _, secret = tokens.create(db, owner.id, name, scopes, expires_at)
    click.echo(secret)


@token.command("list")
@click.argument("client", required=False)
def index(client: str | None) -> None:
    """List the tokens of CLIENT, or of all clients, without their secrets."""
    with reading() as db:
        owner = clients.get(db, client).id if client else None
        for each in tokens.every(db, owner):
            click.echo(_line(each))


@token.command("revoke")
@click.argument("token")
def revoke(token: str) -> None:
    """Revoke a TOKEN by its id, its first characters (`crier_a1b2c3`) or the token itself."""
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
    until = f"until {datetime.fromtimestamp(token.expires_at / 1000, UTC):%Y-%m-%d}"
    return f"{until}, soon" if tokens.expires_soon(token.expires_at, now=now_ms()) else until
