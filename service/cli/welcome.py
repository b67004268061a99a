"""The command that `make run` starts with."""

from __future__ import annotations

import errno
import os
import shlex
import socket

import click
from sqlalchemy.orm import Session as Db

from service.cli import addresses, migrations
from service.cli.clients import make
from service.cli.console import make_link
from service.cli.terminal import Command, paste, writing
from service.core import clients, tokens
from service.core.tokens import Scope
from service.database import now_ms

_LAST_PORT = 65_535

_GREETING = """\
Created the client `default` with a sandbox session. Its token is shown only once:

  {secret}

Send a first broadcast:

  curl -H 'Authorization: Bearer {secret}' {address}/broadcast \\
    --data '{{"send_type": "individual", "to": "12025550110,12025550111,12025550101",
             "message": {{"text": "Hello from Crier"}}}}'

See its progress:

  curl -H 'Authorization: Bearer {secret}' {address}/broadcast

The API is described at {address}/docs.
"""

_AGAIN = "The API is described at {address}/docs. A new token: {token}"

_CONSOLE = "The console, by a link that signs you in once: {link}"

_AS_ROOT = "Running as root is not necessary: any user who can write to DATA_DIR will do."


@click.command("welcome", cls=Command)
@click.option(
    "--address",
    default="",
    show_default="BIND, else http://127.0.0.1:$PORT",
    help="URL at which the service will answer.",
)
def welcome(address: str) -> None:
    """Migrate, and print the URL of the service; at the first start also create a client."""
    if not (address or os.environ.get("BIND")):
        _insist_on(addresses.port())
    migrations.upgrade()
    with writing() as db:
        known = clients.every(db)
        secret = "" if known else _first_token(db)
        # A program that asks by a socket names some host as well.
        address = address or addresses.local() or "http://localhost"
        link = make_link(db, clients.every(db)[0].id, Scope.ADMIN, address)
    if known:
        token = paste(f"token create {shlex.quote(known[0].name)} --scope admin")
        click.echo(_AGAIN.format(address=address, token=token))
    else:
        click.echo(_GREETING.format(address=address, secret=secret))
    click.echo(_CONSOLE.format(link=link))
    if os.geteuid() == 0:
        click.echo(_AS_ROOT, err=True)


def _first_token(db: Db) -> str:
    """Create the first client, and return its token."""
    _, secret = tokens.create(
        db, make(db, "default"), "first", [Scope.ADMIN], tokens.in_days(now=now_ms())
    )
    return secret


def _insist_on(port: str) -> None:
    """Raise ClickException if the port cannot be used, before gunicorn logs tracebacks."""
    if not (port.isdecimal() and 0 < int(port) <= _LAST_PORT):
        raise click.ClickException(f"PORT must be a number from 1 to 65535, not {port!r}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            raise click.ClickException(
                f"Port {port} on 127.0.0.1 is not available ({error.strerror}). Stop the program"
                " that uses it, or choose another port, such as `make run PORT=8001`."
            ) from error
