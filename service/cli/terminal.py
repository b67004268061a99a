"""What all commands share: the database, and errors without tracebacks."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup
from marshmallow import ValidationError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.core import audit
from service.core.audit import Action
from service.database import OUT_OF_REACH, lacks_tables
from service.errors import ServiceError
from service.models import ActionSource
from service.parts import migration_problem, unopened
from service.schemas.fields import LONGEST_LINE, is_line


class Command(click.Command):
    """A command that prints an error as a sentence and exits with status 1.

    What it changes is entered into the audit log.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with plainly(), audit.doing(self._action(ctx)):
            return super().invoke(ctx)

    def _action(self, ctx: click.Context) -> Action | None:
        """Return the command for the audit log: `client.create` for `flask client create`."""
        group = ctx.parent.command.name if ctx.parent else None
        names = [group if isinstance(ctx.parent and ctx.parent.command, Group) else None, self.name]
        return Action(".".join(filter(None, names)), ActionSource.COMMAND, address=_whereabouts())


class ProcessCommand(Command):
    """A command that runs until it is stopped; the audit log does not record what it does."""

    def _action(self, ctx: click.Context) -> Action | None:
        del ctx
        return None


class Line(click.ParamType[str]):
    """A name on one line, validated like the API's names."""

    name = "text"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> str:
        """Return the name without surrounding spaces."""
        name = str(value).strip()
        if len(name) > LONGEST_LINE:
            self.fail(f"A name may have at most {LONGEST_LINE} characters.", param, context)
        try:
            return is_line(name)
        except ValidationError as error:
            self.fail(str(error.messages[0]), param, context)


class Group(AppGroup):
    """Commands about one noun."""

    command_class = Command


def _whereabouts() -> str:
    """Return the user and the machine of this command, such as `root@db1`."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"#{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def writing() -> AbstractContextManager[Db]:
    """Open a transaction of the service's database."""
    _insist_on_a_database()
    return crier().database.writing()


def reading() -> AbstractContextManager[Db]:
    """Open a read transaction of the service's database."""
    _insist_on_a_database()
    return crier().database.reading()


def _insist_on_a_database() -> None:
    """Raise ClickException if there is no SQLite file: opening would create one."""
    database = crier().database
    file = database.engine.url.database if database.is_sqlite else None
    if file and not Path(file).exists():
        raise click.ClickException(
            f"There is no database {file}. Set DATA_DIR to the folder of the service, or run"
            f" `{paste('migrate')}` to create a database here."
        )


def paste(command: str) -> str:
    """Return how to type a command in the working folder."""
    flask = Path(sys.executable).with_name("flask")
    found = shutil.which("flask")
    if found and Path(found).absolute() == flask:
        return f"flask {command}"
    here = Path.cwd()
    return f"{flask.relative_to(here) if flask.is_relative_to(here) else flask} {command}"


def insist_on_tables() -> None:
    """Raise ClickException if tables are missing, but not if the database is unreachable."""
    with suppress(*OUT_OF_REACH):
        if migration_problem(crier().database.engine):
            raise click.ClickException(_no_tables())


def insist_on_keys() -> None:
    """Print the sessions that no key decrypts; raise ClickException if no key decrypts any.

    Do nothing if the database is unreachable.
    """
    with suppress(*OUT_OF_REACH):
        closed = unopened(crier())
        if closed and closed.is_foreign:
            raise click.ClickException(closed.sentence())
        if closed:
            click.echo(closed.sentence(), err=True)


@contextmanager
def plainly() -> Iterator[None]:
    """Turn errors into messages for the terminal."""
    try:
        yield
    except ServiceError as error:
        raise click.ClickException(_said(error)) from error
    except SQLAlchemyError as error:
        raise click.ClickException(_of_database(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}.") from error


def _said(error: ServiceError) -> str:
    """Return an error's message and the reasons of its fields."""
    reasons = [reason for reasons in error.errors.values() for reason in reasons]
    return " ".join([error.message, *(reason for reason in reasons if reason != error.message)])


def _no_tables() -> str:
    return f"The database schema does not match this version: run `{paste('migrate')}`."


def _of_database(error: SQLAlchemyError) -> str:
    if lacks_tables(error):
        return _no_tables()
    if not isinstance(error, DBAPIError | PoolTimeoutError):
        raise error
    gist = str(getattr(error, "orig", error)).partition("\n")[0]
    where = "DATABASE_URL" if crier().settings.database_url else "DATA_DIR"
    return f"The database failed ({gist}). Check {where}, and whether the database is running."
