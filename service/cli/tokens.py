"""Commands for the tokens of clients."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import click

from service.cli.terminal import Group, Line, reading, writing
from service.core import clients, tokens
from service.core.tokens import Scope
from service.database import milliseconds, now_ms
from service.models import Token

token = Group("token", help="Create, list, replace and revoke the tokens of clients.")


def lifetime(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say when a new token expires."""
    forever = click.option("--forever", is_flag=True, help="Do not expire.")
    days = click.option(
        "--days",
        type=click.IntRange(1, tokens.MOST_DAYS),
        default=tokens.USUAL_DAYS,
        show_default=True,
        help="Expire after so many days.",
    )
    return days(forever(command))


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
@lifetime
def create(client: str, name: str, scopes: tuple[str, ...], days: int, forever: bool) -> None:  # noqa: FBT001 - click passes a flag so
    """Create a token for CLIENT and print it once.

    In its last 30 days, answers to it have a header `Token-Expires`.
    """
    expires_at = None if forever else tokens.in_days(days, now=now_ms())
    with writing() as db:
        owner = clients.get(db, client)
        _, secret = tokens.create(db, owner.id, name, scopes, expires_at)
    click.echo(secret)


@token.command("rotate")
@click.argument("token")
@click.option(
    "--overlap",
    type=click.IntRange(0, tokens.MOST_OVERLAP),
    default=tokens.USUAL_OVERLAP,
    show_default=True,
    help="Seconds for which the former token stays valid.",
)
@lifetime
def rotate(token: str, overlap: int, days: int, forever: bool) -> None:  # noqa: FBT001 - as above
    """Replace a TOKEN by a new one that may do the same, and print it once."""
    now = now_ms()
    with writing() as db:
        former = tokens.named(db, token)
        expires_at = None if forever else tokens.in_days(days, now=now)
        overlapping = milliseconds(overlap)
        _, secret = tokens.rotate(db, former, expires_at, overlap=overlapping, now=now)
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
    reach = token.scopes or f"session {token.session_id}"
    used = f"used {_day(token.last_used_at)}" if token.last_used_at else "never used"
    return f"{token.id}  {token.prefix}…  {token.name}  {reach}  {_state(token)}  {used}"


def _state(token: Token) -> str:
    status = tokens.status(token, now=now_ms())
    if status in {"revoked", "expired"}:
        return status
    if not token.expires_at:
        return "does not expire"
    until = f"until {_day(token.expires_at)}"
    if token.replaced_by:
        return f"{until}, replaced"
    return f"{until}, soon" if status == "expiring" else until


def _day(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d}"
