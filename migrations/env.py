"""How alembic reaches the service's database."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, event, text

from service import config
from service.database import Database
from service.models import Base

_LOCK_TIMEOUT = "1s"
"""A migration that waits longer for a lock would make every query behind it wait as well."""


def run(connection: Connection) -> None:
    """Run what is asked for on one connection."""
    is_postgres = connection.dialect.name == "postgresql"
    # Nothing is rendered as a batch: on SQLite that makes a table anew, and what hangs on its rows
    # by ON DELETE CASCADE goes with the old one. What SQLite cannot do to a table fails instead.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        transaction_per_migration=True,
    )
    if is_postgres:
        event.listen(connection, "begin", _limit_locks)
    with context.begin_transaction():
        context.run_migrations()


def _limit_locks(connection: Connection) -> None:
    """Each migration is a transaction of its own."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))


def main() -> None:
    """Use the connection that a caller gives us, else the one that the settings name."""
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    database = Database(config.load())
    with database.migrating() as connection:
        run(connection)
    database.dispose()


main()
