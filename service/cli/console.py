"""Commands about the console."""

from __future__ import annotations

from urllib.parse import quote

import click
from sqlalchemy.orm import Session as Db

from service.cli import addresses
from service.cli.terminal import Group, writing
from service.core import clients, sign_ins
from service.core.tokens import Scope
from service.database import now_ms

console = Group("console", help="Let people in to the console.")


@console.command("link")
@click.argument("client")
@click.option(
    "--scope",
    default=Scope.ADMIN.value,
    show_default=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="read: look; send: also send; admin: also sessions and tokens.",
)
@click.option(
    "--address",
    default="",
    show_default="PUBLIC_URL, else BIND, else http://127.0.0.1:$PORT",
    help="Where the service answers.",
)
def link(client: str, scope: str, address: str) -> None:
    """Print a link that signs one browser in to the console of CLIENT, within an hour."""
    with writing() as db:
        made = make_link(db, clients.get(db, client).id, Scope(scope), address or addresses.usual())
    click.echo(made)


def make_link(db: Db, client_id: str, scope: Scope, address: str) -> str:
    """Return the address that signs one browser in."""
    secret = sign_ins.link(db, client_id, scope, now=now_ms())
    return f"{address.rstrip('/')}/console/sign-in?link={quote(secret)}"
