"""The command line: what an operator does that no client program may.

`flask --app wsgi COMMAND`; each command prints what it did, and secrets exactly once.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import click
from alembic import command
from alembic.config import Config
from flask import Flask
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.core import clients, sessions, tokens
from service.core.tokens import Scope
from service.database import now_ms
from service.dispatch.purge import Purge
from service.errors import ServiceError
from service.metrics import meters
from service.models import Token

ROOT = Path(__file__).resolve().parent.parent

client_commands = AppGroup("client", help="The clients: whoever sends through this service.")
token_commands = AppGroup("token", help="The tokens that client programs carry.")
engine_commands = AppGroup("engine", help="The engine `procrastinate`, an extra (Postgres).")


def register(app: Flask) -> None:
    """Give the application its commands."""
    for group in (client_commands, token_commands, engine_commands):
        app.cli.add_command(group)
    for single in (migrate, welcome, dispatch, worker, purge):
        app.cli.add_command(single)


@client_commands.command("create")
@click.argument("name")
def create_client(name: str) -> None:
    """Create a client, with a sandbox session to try things out."""
    with _writing() as db:
        client_id = _new_client(db, name)
    click.echo(f"Client {name} is {client_id}. Next: flask token create {name}")


@client_commands.command("list")
def list_clients() -> None:
    """List all clients."""
    with _reading() as db:
        for client in clients.every(db):
            click.echo(f"{client.id}  {client.name}")


@token_commands.command("create")
@click.argument("client")
@click.option("--name", default="default", show_default=True, help="What you will know it by.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=(Scope.SEND.value,),
    show_default=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="read: look; send: also broadcasts, files, contacts; admin: also sessions.",
)
@click.option("--days", type=click.IntRange(1, 36500), help="Expire after so many days.")
def create_token(client: str, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Create a token for CLIENT and print it: it is not shown again."""
    expires_at = None
    if days:
        expires_at = round((datetime.now(UTC) + timedelta(days=days)).timestamp() * 1000)
    with _writing() as db:
        owner = clients.get(db, client)
        _, secret = tokens.create(db, owner.id, name, scopes, expires_at)
    click.echo(secret)


@token_commands.command("list")
@click.argument("client", required=False)
def list_tokens(client: str | None) -> None:
    """List the tokens of CLIENT, or of all clients; their secrets are not known any more."""
    with _reading() as db:
        owner = clients.get(db, client).id if client else None
        for token in tokens.every(db, owner):
            click.echo(_line(token))


@token_commands.command("revoke")
@click.argument("token")
def revoke_token(token: str) -> None:
    """End a token, named by its id, its beginning or itself."""
    with _writing() as db:
        revoked = tokens.revoke(db, token, now_ms())
    click.echo(f"Token {revoked.prefix}… is revoked.")


@click.command("migrate")
def migrate() -> None:
    """Bring the database to the newest migration."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    command.upgrade(Config(ROOT / "alembic.ini"), "head")


@click.command("welcome")
@click.option("--address", default="", help="Where the service will answer.")
@click.pass_context
def welcome(context: click.Context, address: str) -> None:
    """Migrate; at the very first start also make a client and print a request to paste."""
    context.invoke(migrate)
    with _writing() as db:
        if clients.every(db):
            return
        client_id = _new_client(db, "default")
        _, secret = tokens.create(db, client_id, "first", [Scope.ADMIN])
    # As gunicorn.conf.py reads it; `.env` has been read with the settings.
    address = address or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
    click.echo(_GREETING.format(secret=secret, address=address))


@click.command("dispatch")
def dispatch() -> None:
    """Send what the web workers accept, in a process of its own, until SIGTERM or SIGINT."""
    parts = crier()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    meters.share(parts.settings.metrics_dir)
    parts.dispatcher.start()
    while not ended.wait(1.0):
        pass
    in_time = parts.dispatcher.stop(parts.settings.grace)
    sys.exit(0 if in_time else 1)


@click.command("worker")
def worker() -> None:
    """Work through the jobs that DISPATCH=procrastinate leaves, until SIGTERM or SIGINT."""
    parts = crier()
    if parts.settings.dispatch != "procrastinate":
        raise click.ClickException(
            "A worker has nothing to do unless DISPATCH=procrastinate is set, here as for the web"
            " workers; `flask dispatch` needs no jobs."
        )
    engine = _engine()
    meters.share(parts.settings.metrics_dir)
    try:
        at_work = engine.Engine(parts.settings, parts.database, parts.dispatcher)
        in_time = asyncio.run(at_work.run())
    except engine.EngineError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if in_time else 1)


@engine_commands.command("setup")
def set_up_engine() -> None:
    """Create the tables of the queue, procrastinate's own; they are no part of our migrations."""
    database = crier().database
    if database.is_sqlite:
        raise click.ClickException(
            "The engine `procrastinate` keeps its queue in Postgres: set DATABASE_URL. On SQLite"
            " the web workers send by themselves (DISPATCH=threads)."
        )
    engine = _engine()
    try:
        with _out_loud():
            made = engine.set_up(database)
    except engine.EngineError as error:
        raise click.ClickException(str(error)) from error
    click.echo("The queue is there." if made else "The queue was there already.")


def _engine() -> Any:
    """Import the engine, or say what it needs: it is an extra."""
    try:
        return importlib.import_module("service.dispatch.engine")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"The engine `procrastinate` is not installed ({error.name} is missing):"
            " pip install --require-hashes -r requirements-procrastinate.txt"
        ) from error


class Age(click.ParamType[int]):
    """A length of time such as `90d`, in milliseconds."""

    name = "age"
    _UNITS: ClassVar = {"h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Read a number and its unit."""
        match = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a length of time such as 12h, 90d or 8w.", param, context)
        return int(match[1]) * self._UNITS[match[2]]


@click.command("purge")
@click.option("--older-than", "age", required=True, type=Age(), help="Such as 12h, 90d or 8w.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def purge(age: int, dry_run: bool) -> None:  # noqa: FBT001 - click passes a flag so
    """Delete broadcasts that were closed that long ago, with their deliveries; never open ones.

    Besides: receipts of that age that name nothing of ours, and files that a crash left behind.
    """
    parts = crier()
    before = now_ms() - age
    forgetting = Purge(parts.database, parts.storage, before=before)
    with _out_loud():
        gone = forgetting.look() if dry_run else forgetting.run()
    moment = datetime.fromtimestamp(before / 1000, UTC)
    click.echo(
        f"{'Would delete' if dry_run else 'Deleted'} {gone.broadcasts} broadcasts closed before"
        f" {moment:%Y-%m-%d %H:%M} UTC with {gone.deliveries} deliveries, {gone.receipts} receipts"
        f" and {gone.files} files."
    )


_GREETING = """\
A client `default` was made, with a sandbox session. Its token is shown only this once:

  {secret}

Send a first broadcast:

  curl -H 'Authorization: Bearer {secret}' {address}/broadcast \\
    --data '{{"send_type": "individual", "to": "12025550110,12025550111,12025550101",
             "message": {{"text": "Hello from Crier"}}}}'

and see how it fares:

  curl -H 'Authorization: Bearer {secret}' {address}/broadcast

What can be asked is at {address}/docs.
"""


def _new_client(db: Db, name: str) -> str:
    parts = crier()
    client = clients.create(db, name)
    fields = {"name": "sandbox", "channel": "sandbox", "settings": {}}
    channels, vault = parts.accounts.channels, parts.vault
    sessions.create(db, client.id, fields, channels=channels, vault=vault)
    return client.id


def _line(token: Token) -> str:
    return f"{token.id}  {token.prefix}…  {token.name}  {token.scopes}  {_state(token)}"


def _state(token: Token) -> str:
    if token.revoked_at:
        return "revoked"
    if not token.expires_at:
        return "does not expire"
    return f"until {datetime.fromtimestamp(token.expires_at / 1000, UTC):%Y-%m-%d}"


def _writing() -> AbstractContextManager[Db]:
    return _plainly(crier().database.writing())


def _reading() -> AbstractContextManager[Db]:
    return _plainly(crier().database.reading())


@contextmanager
def _plainly(session: AbstractContextManager[Db]) -> Iterator[Db]:
    """Turn the failures of a session into sentences for the terminal."""
    with _out_loud(), session as db:
        yield db


@contextmanager
def _out_loud() -> Iterator[None]:
    """Turn failures into sentences for the terminal."""
    try:
        yield
    except ServiceError as error:
        raise click.ClickException(error.message) from error
    except DBAPIError as error:
        gist = str(error.orig).partition("\n")[0]
        advice = "check DATABASE_URL, and whether `flask migrate` was run"
        raise click.ClickException(f"The database did not do it ({gist}): {advice}.") from error
