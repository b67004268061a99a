"""The command that makes the tables."""

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
    """Bring the database to the newest migration; it may be repeated.

    Makes the tables of a new database too. A lock is waited for one second at most.
    """
    upgrade()


def upgrade() -> None:
    """Run the migrations that the database has not seen, and mark what their version could not."""
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
        sentence = f"The database was migrated by another version of Crier than this one ({error})."
        raise click.ClickException(sentence) from error
    except (OperationalError, ProgrammingError) as error:
        if not lacks_tables(error):
            raise
        sentence = f"These tables are not those that a migration begins with ({error.orig})."
        raise click.ClickException(sentence) from error
