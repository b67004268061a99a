"""Health checks for operators and load balancers."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service import VERSION
from service.blueprints.api import Blueprint
from service.blueprints.context import crier
from service.core import jobs
from service.errors import ServiceError
from service.parts import Crier, migration_problem, unopened
from service.schemas.health import HealthSchema, ReadinessSchema

blueprint = Blueprint("health", __name__, description="Whether the service works")

_WRITE = text("UPDATE clients SET name = name WHERE 1 = 0")

_SENDERS = {
    "threads": "ok",
    "off": "Not in this process: `flask dispatch` sends.",
    "procrastinate": "Not in this process: it leaves jobs for `flask worker`.",
}
"""The status of the dispatcher, by the setting DISPATCH."""


class NotReadyError(ServiceError):
    """This process is not ready."""

    status = 503


@blueprint.get("/healthz", "getHealth")
@blueprint.answers(200, HealthSchema, "This process is alive.")
def health() -> dict[str, str]:
    """Check that this process answers."""
    return {"version": VERSION}


@blueprint.get("/readyz", "getReadiness")
@blueprint.raises(NotReadyError)
@blueprint.answers(200, ReadinessSchema, "This process is ready.")
def ready() -> dict[str, str]:
    """Check that the database accepts writes, its schema and keys fit, and the dispatcher runs."""
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
        return {"database": "The database is not available."}
    if problem:
        return {"migrations": problem}
    return _writing_problems(parts) or _queue_problems(parts)


def _writing_problems(parts: Crier) -> dict[str, str]:
    """Try a write, as every `POST` needs. The statement changes no row."""
    try:
        with parts.database.writing() as db:
            db.execute(_WRITE)
    except SQLAlchemyError:
        return {"database": "The database can be read but not written. Is it a standby?"}
    return {}


def _queue_problems(parts: Crier) -> dict[str, str]:
    if parts.settings.dispatch != "procrastinate":
        return {}
    with parts.database.reading() as db:
        problem = jobs.problem(db)
    return {"database": problem} if problem else {}


def _dispatcher_problem(parts: Crier) -> str | None:
    return parts.dispatcher.problem() if parts.settings.dispatch == "threads" else None


def _key_problems(parts: Crier) -> dict[str, str]:
    """Name sessions only by id: this route needs no token."""
    closed = unopened(parts)
    return {"keys": closed.sentence(with_names=False)} if closed else {}
