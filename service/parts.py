"""The parts of a process, below HTTP: for the application, the command line and gunicorn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from sqlalchemy import Engine, inspect, text

from service import MIGRATIONS, logs
from service.channels.places import SharedPlaces
from service.config import Settings
from service.core import audit, keys, shared_rates, signals, usages
from service.core.accounts import Accounts
from service.core.allowances import Allowances, Lender
from service.core.rate_table import RateTable
from service.core.rates import DrawResult, Rate
from service.core.request_places import RequestPlaces
from service.core.storage import Storage
from service.core.vault import Vault
from service.database import Database
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.process import DispatcherProcess
from service.dispatch.sending.uploads import StoredMediaIds

_CURRENT = text("SELECT version_num FROM alembic_version")


LONG_ANSWERS: Final = 4
"""Exports and long pages that a process makes at a time: half of the default `WEB_THREADS`. One
client makes at most half of them."""


@dataclass(frozen=True, slots=True)
class Crier:
    """The parts of one process of the service; `dispatcher` is the process beside a web worker."""

    settings: Settings
    database: Database
    storage: Storage
    vault: Vault
    accounts: Accounts
    dispatcher: DispatcherProcess
    requests: Allowances
    failures: Allowances
    long_answers: SharedPlaces
    places: RequestPlaces


def build(settings: Settings) -> Crier:
    """Create the parts for these settings, without starting anything: servers fork later."""
    logs.configure(settings)
    database, vault = Database(settings), Vault(settings)
    database.listen(audit.LISTENERS)
    database.listen(usages.listeners(settings))
    database.listen(signals.listeners(settings.signals_dir))
    accounts = Accounts(settings, vault, partial(StoredMediaIds, database))
    requests, failures = (
        Allowances(RateTable(settings.rates_dir / name), _lender(database, name))
        for name in ("requests", "failures")
    )
    storage = Storage(settings)
    places = SharedPlaces(LONG_ANSWERS), RequestPlaces()
    stores = (settings, database, storage, vault)
    return Crier(*stores, accounts, DispatcherProcess(), requests, failures, *places)


def make_dispatcher(parts: Crier) -> Dispatcher:
    """Create the dispatcher of a process that sends."""
    return Dispatcher(parts.settings, parts.database, parts.accounts)


def _lender(database: Database, name: str) -> Lender | None:
    """Return what lends to this machine; an SQLite database has no other machines."""
    if database.is_sqlite:
        return None

    def lend(key: str, rate: Rate) -> DrawResult:
        with audit.doing(None), database.writing() as db:
            return shared_rates.lend(db, f"{name} {key}", rate)

    return lend


def migration_problem(engine: Engine) -> str:
    """Say whether a migration is missing; empty if not.

    The schema of a newer version is fine: most migrations only add. docs/operating.md names the
    migrations that need stopped processes.
    """
    current, (*older, newest) = _current(engine), migrations()
    if current and current not in older:
        return ""
    return f"The schema is at {current or 'none'}, not at {newest}: run `make migrate`."


def unopened(parts: Crier) -> keys.UndecryptableSessions | None:
    """Return the sessions whose secrets this process cannot decrypt, None if none."""
    with parts.database.reading() as db:
        return keys.unopened(db, parts.vault)


@cache
def migrations() -> tuple[str, ...]:
    """Return the migrations that this code knows, oldest first.

    File names equal revision ids. Importing alembic would take longer than the rest of the start.
    """
    return tuple(sorted(path.stem for path in MIGRATIONS.glob("versions/[0-9]*.py")))


def _current(engine: Engine) -> str:
    """Return the migration of the database, empty if it has no tables."""
    with engine.connect() as connection:
        migrated = inspect(connection).has_table("alembic_version")
        return connection.scalar(_CURRENT) or "" if migrated else ""
