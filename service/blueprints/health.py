"""What the service says about itself to whoever watches it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

import service
from service.blueprints.api import VERSION, Blueprint
from service.blueprints.context import Crier, crier
from service.core import jobs
from service.errors import ServiceError
from service.schemas.health import HealthSchema, ReadinessSchema

blueprint = Blueprint("health", __name__, description="Whether the service can do its work")

_MIGRATIONS = Path(service.__file__).parent.parent / "migrations"

_CURRENT = text("SELECT version_num FROM alembic_version")

_ELSEWHERE = "None here: this process leaves jobs for `flask worker`."


class NotReadyError(ServiceError):
    """This process cannot do its work just now."""

    status = 503


@blueprint.get("/healthz")
@blueprint.answers(200, HealthSchema, "This process is alive.")
def health() -> dict[str, str]:
    """Tell whether this process answers at all."""
    return {"version": VERSION}


@blueprint.get("/readyz")
@blueprint.raises(NotReadyError)
@blueprint.answers(200, ReadinessSchema, "This process is ready.")
def ready() -> dict[str, str]:
    """Tell whether the database, its tables and the dispatcher are as they should be."""
    parts = crier()
    problems = _database_problems(parts)
    if parts.settings.dispatch == "threads" and (problem := parts.dispatcher.problem()):
        problems["dispatcher"] = problem
    if problems:
        raise NotReadyError(
            errors={part: [sentence] for part, sentence in problems.items()},
            headers={"Retry-After": "2"},
        )
    leaves_jobs = parts.settings.dispatch == "procrastinate"
    dispatcher = _ELSEWHERE if leaves_jobs else "ok"
    return {"database": "ok", "migrations": "ok", "dispatcher": dispatcher}


def _database_problems(parts: Crier) -> dict[str, str]:
    try:
        with parts.database.engine.connect() as connection:
            migrated = inspect(connection).has_table("alembic_version")
            current = set(connection.scalars(_CURRENT)) if migrated else set()
    except SQLAlchemyError:
        return {"database": "The database cannot be reached."}
    if current != _heads():
        found = ", ".join(sorted(current)) or "none"
        wanted = ", ".join(sorted(_heads()))
        return {"migrations": f"The tables are at {found}, not at {wanted}: run `make migrate`."}
    return _queue_problems(parts)


def _queue_problems(parts: Crier) -> dict[str, str]:
    if parts.settings.dispatch != "procrastinate":
        return {}
    with parts.database.reading() as db:
        problem = jobs.problem(db)
    return {"database": problem} if problem else {}


@cache
def _heads() -> frozenset[str]:
    """Return the migrations that this code is written for."""
    return frozenset(ScriptDirectory(str(_MIGRATIONS)).get_heads())
