"""What the service says about itself to whoever watches it."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from service import MIGRATIONS, VERSION
from service.blueprints.api import Blueprint
from service.blueprints.context import Crier, crier
from service.core import jobs, keys
from service.errors import ServiceError
from service.schemas.health import HealthSchema, ReadinessSchema

blueprint = Blueprint("health", __name__, description="Whether the service can do its work")

_CURRENT = text("SELECT version_num FROM alembic_version")

_WRITE = text("UPDATE clients SET name = name WHERE 1 = 0")

_SENDERS = {
    "threads": "ok",
    "off": "None here: `flask dispatch` sends.",
    "procrastinate": "None here: this process leaves jobs for `flask worker`.",
}
"""What is said of the dispatcher by the setting DISPATCH."""


class NotReadyError(ServiceError):
    """This process cannot do its work just now."""

    status = 503


@blueprint.get("/healthz", "getHealth")
@blueprint.answers(200, HealthSchema, "This process is alive.")
def health() -> dict[str, str]:
    """Tell whether this process answers at all."""
    return {"version": VERSION}


@blueprint.get("/readyz", "getReadiness")
@blueprint.raises(NotReadyError)
@blueprint.answers(200, ReadinessSchema, "This process is ready.")
def ready() -> dict[str, str]:
    """Tell whether the database takes writes, has its tables and keys, and the dispatcher runs."""
    parts = crier()
    problems = _database_problems(parts) or _key_problems(parts)
    if "keys" not in problems and (problem := _dispatcher_problem(parts)):
        problems["dispatcher"] = problem
    if problems:
        raise NotReadyError(
            errors={part: [sentence] for part, sentence in problems.items()},
            headers={"Retry-After": "2"},
        )
    sender = _SENDERS[parts.settings.dispatch]
    return {"database": "ok", "migrations": "ok", "keys": "ok", "dispatcher": sender}


def _database_problems(parts: Crier) -> dict[str, str]:
    try:
        problem = migration_problem(parts.database.engine)
    except SQLAlchemyError:
        return {"database": "The database cannot be reached."}
    if problem:
        return {"migrations": problem}
    return _writing_problems(parts) or _queue_problems(parts)


def _writing_problems(parts: Crier) -> dict[str, str]:
    """Try what every `POST` needs; the statement changes no row."""
    try:
        with parts.database.writing() as db:
            db.execute(_WRITE)
    except SQLAlchemyError:
        return {"database": "The database can be read but not written. Is it a standby?"}
    return {}


def migration_problem(engine: Engine) -> str:
    """Return, in words, that tables are missing which this code needs; empty: none is.

    Tables that a newer version has migrated are fine: most migrations only add, and
    docs/operating.md says before which one processes have to be stopped.
    """
    current, (*older, newest) = _current(engine), migrations()
    if current and current not in older:
        return ""
    return f"The tables are at {current or 'none'}, not at {newest}: run `make migrate`."


def _current(engine: Engine) -> str:
    """Return the migration at which the tables are, empty where there are none."""
    with engine.connect() as connection:
        migrated = inspect(connection).has_table("alembic_version")
        return connection.scalar(_CURRENT) or "" if migrated else ""


def _queue_problems(parts: Crier) -> dict[str, str]:
    if parts.settings.dispatch != "procrastinate":
        return {}
    with parts.database.reading() as db:
        problem = jobs.problem(db)
    return {"database": problem} if problem else {}


def _dispatcher_problem(parts: Crier) -> str | None:
    return parts.dispatcher.problem() if parts.settings.dispatch == "threads" else None


def _key_problems(parts: Crier) -> dict[str, str]:
    """Name sessions by id alone: anybody may ask."""
    closed = unopened(parts)
    return {"keys": closed.sentence(with_names=False)} if closed else {}


def unopened(parts: Crier) -> keys.Unopened | None:
    """Return the sessions whose secrets this process cannot read, None if there are none."""
    with parts.database.reading() as db:
        return keys.unopened(db, parts.vault)


@cache
def migrations() -> tuple[str, ...]:
    """Return the migrations that this code knows, the oldest first.

    A file is named by its number and has its revision's name: alembic need not be asked, which
    takes longer to import than the rest of the service to start.
    """
    return tuple(sorted(path.stem for path in MIGRATIONS.glob("versions/[0-9]*.py")))
