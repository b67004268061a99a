"""The health checks, as an operator watches them."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.fernet import Fernet
from sqlalchemy import text

from service import VERSION, parts
from service.app import Application
from service.parts import Crier
from tests.conftest import Tenant

MakeApp = Callable[..., Application]


def test_a_process_that_answers_is_alive(app: Application) -> None:
    answer = app.test_client().get("/healthz")
    assert answer.status_code == 200
    assert answer.json == {
        "status": True,
        "message": "This process is alive.",
        "data": {"version": VERSION},
    }


def test_a_process_that_only_accepts_is_ready_without_a_dispatcher(app: Application) -> None:
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 200
    said = answer.json["data"]  # type: ignore[index]
    assert (said["database"], said["migrations"]) == ("ok", "ok")
    assert "flask dispatch" in said["dispatcher"]


def test_a_dispatcher_that_was_not_started_is_a_problem(make_app: MakeApp) -> None:
    app = make_app(dispatch="threads")
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["status"] is False  # type: ignore[index]
    assert list(answer.json["errors"]) == ["dispatcher"]  # type: ignore[index]


def test_tables_behind_the_code_are_a_problem_and_those_ahead_of_it_are_not(
    app: Application,
) -> None:
    crier: Crier = app.extensions["crier"]
    client = app.test_client()
    with crier.database.writing() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999_from_the_future'"))
    # Or a proxy would take out all workers at once, before the first of them is restarted.
    assert client.get("/readyz").json["data"]["migrations"] == "ok"  # type: ignore[index]
    with crier.database.writing() as db:
        db.execute(text("DROP TABLE alembic_version"))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["errors"]["migrations"] == [  # type: ignore[index]
        f"The schema is at none, not at {parts.migrations()[-1]}: run `make migrate`."
    ]


def test_a_database_that_cannot_be_reached_is_a_problem(make_app: MakeApp) -> None:
    app = make_app(database_url="postgresql://nobody@127.0.0.1:1/nothing")
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json["errors"]) == ["database"]  # type: ignore[index]
    assert app.test_client().get("/healthz").status_code == 200


def test_without_tables_every_request_says_what_the_operator_has_to_do(app: Application) -> None:
    crier: Crier = app.extensions["crier"]
    with crier.database.writing() as db:
        db.execute(text("ALTER TABLE tokens RENAME TO others"))
    answer = app.test_client().get("/broadcast", headers={"Authorization": "Bearer crier_0"})
    assert answer.status_code == 503
    assert "make migrate" in answer.json["message"]  # type: ignore[index]


def test_older_tables_are_a_problem_for_a_process_and_newer_ones_are_not(
    app: Application,
) -> None:
    crier: Crier = app.extensions["crier"]
    for found, is_problem in (
        (parts.migrations()[-1], False),
        ("9999_from_the_future", False),
        (parts.migrations()[0], True),
    ):
        with crier.database.writing() as db:
            db.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
        assert bool(parts.migration_problem(crier.database.engine)) is is_problem


def test_sessions_whose_key_is_not_here_are_named_by_id_alone(make_app: MakeApp) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings = {"base_url": "https://waha.example", "api_key": "waha-key"}
    before = Tenant(make_app(secret_key=old), "Acme")
    made = before.make("/session", name="phone", channel="waha", settings=settings)
    assert before.get("/readyz").json["data"]["keys"] == "ok"
    # A process that has not started to dispatch, as it has another service's key.
    client = make_app(secret_key=new, dispatch="threads").test_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json["errors"]) == ["keys"]  # type: ignore[index]
    [sentence] = answer.json["errors"]["keys"]  # type: ignore[index]
    assert made["_id"] in sentence
    assert "phone" not in sentence
    assert "SECRET_KEY" in sentence
    assert make_app(secret_key=f"{new},{old}").test_client().get("/readyz").status_code == 200
