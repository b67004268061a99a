"""The command that migrates the database."""

from __future__ import annotations

import click
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError, ProgrammingError

from service import MIGRATIONS
from service.blueprints.context import crier
from service.cli.terminal import Command, writing
from service.core import keys
from service.database import lacks_tables


@click.command("migrate", cls=Command)
def migrate() -> None:
    """Migrate the database to the newest version. It may be repeated.

    It also creates the tables of a new database. It waits at most one second for a lock.
    """
    upgrade()


def upgrade() -> None:
    """Run the missing migrations, and add key marks that older versions did not store."""
    _migrate()
    with writing() as db:
        keys.adopt(db, crier().vault)


def _migrate() -> None:
    config = Config()
    config.set_main_option("script_location", f"{MIGRATIONS}".replace("%", "%%"))
    try:
        with crier().database.migrating() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        sentence = f"Another version of Crier has migrated this database ({error})."
        raise click.ClickException(sentence) from error
    except (OperationalError, ProgrammingError) as error:
        if not lacks_tables(error):
            raise
        sentence = f"The tables are not in the state that a migration expects ({error.orig})."
        raise click.ClickException(sentence) from error
