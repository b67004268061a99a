"""Whatever goes wrong is answered in the envelope."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError

from service.app import Application, create_app
from service.config import Settings
from service.connections import GivenUpError, StoppingError
from service.errors import ServiceError
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

MakeApp = Callable[..., Application]

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def failing(folder: Path, error: Exception) -> Any:
    """Answer a request to an address whose view raises."""
    app = create_app(Settings(data_dir=folder, dispatch="off"))

    @app.get("/fail")
    def fail() -> str:
        raise error

    return app.test_client().get("/fail?access_token=crier_secret")


def test_an_unknown_address_is_404(acme: Tenant) -> None:
    answer = acme.get("/nonsense")
    assert answer.status_code == 404
    assert answer.json == {
        "status": False,
        "message": "This URL does not exist.",
        "data": None,
        "errors": {},
    }


def test_a_wrong_method_is_405_and_says_which_are_right(acme: Tenant) -> None:
    answer = acme.ask("PATCH", "/broadcast")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert answer.json["status"] is False


def test_a_defect_is_answered_with_a_reference_to_the_log_and_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = failing(tmp_path, ZeroDivisionError("secret of ours"))
    assert answer.status_code == 500
    assert answer.json["status"] is False
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    [reference] = answer.json["errors"]["reference"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [logged] = [line for line in lines if line.get("reference") == reference]
    assert "ZeroDivisionError" in logged["exception"]
    assert "crier_secret" not in json.dumps(lines)


def test_a_busy_database_is_503(tmp_path: Path) -> None:
    answer = failing(tmp_path, PoolTimeoutError())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"


def test_a_lost_race_is_409(tmp_path: Path) -> None:
    assert failing(tmp_path, StaleDataError()).status_code == 409


def test_a_database_that_is_not_there_is_503(settings: Settings, make_app: MakeApp) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    app = make_app(database_url=nowhere)
    answer = app.test_client().get("/broadcast", headers={"Authorization": "Bearer crier_x"})
    assert answer.status_code == 503
    assert answer.json["status"] is False  # type: ignore[index]
    assert settings.dispatch == "off"


def test_a_body_beyond_the_limit_is_413_and_nothing_is_stored(make_app: MakeApp) -> None:
    acme = Tenant(make_app(max_body_bytes=100), "Acme")
    body = json.dumps({"name": "x" * 200, "phones": ["2348179803743"]})
    answer = acme.post("/contact", data=body)
    assert answer.status_code == 413
    assert "100 bytes" in answer.json["message"]
    assert acme.get("/contact").json["data"] == []


def test_a_body_of_just_the_limit_is_read(make_app: MakeApp) -> None:
    acme = Tenant(make_app(max_body_bytes=100), "Acme")
    body = '{"name": "Ada", "phones": ["2348179803743"]}'.ljust(100)
    assert acme.post("/contact", data=body).status_code == 201


def test_a_chunked_body_beyond_the_limit_is_413_too(make_app: MakeApp) -> None:
    acme = Tenant(make_app(max_body_bytes=100), "Acme")
    body = b'{"name": "Ada", "phones": ["2348179803743"]}'.ljust(101)
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    answer = acme.post("/contact", data=body, environ_overrides=chunked)
    assert answer.status_code == 413


@on_sqlite
@pytest.mark.parametrize(
    ("body", "mimetype"),
    [
        (b"send_type=individual&to=12025550110&message[text]=Your+balance+is+100", FORM),
        (b'{"send_type": "individual", "to": "12025550110", "message": {"text": "Hi"}}', JSON),
    ],
)
def test_a_body_whose_end_never_came_is_400_even_if_it_looks_whole(
    acme: Tenant, body: bytes, mimetype: str
) -> None:
    acme.make("/session", name="Sandbox", channel="sandbox")
    cut = {"wsgi.input_terminated": True, "CONTENT_LENGTH": f"{len(body) + 4}"}
    answer = acme.post("/broadcast", data=body, content_type=mimetype, environ_overrides=cut)
    assert answer.status_code == 400
    assert "cut off" in answer.json["errors"]["body"][0]
    assert acme.get("/broadcast").json["data"] == []
    assert acme.post("/broadcast", data=body, content_type=mimetype).status_code == 201


class _Endless:
    """An input that is given up before its end."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, _size: int = -1) -> bytes:
        raise self._error


@on_sqlite
@pytest.mark.parametrize(
    ("error", "status"), [(GivenUpError(), 408), (StoppingError(), 503), (ParseException(), 400)]
)
def test_a_body_that_is_not_waited_for_is_answered_but_to_strangers(
    acme: Tenant, error: Exception, status: int
) -> None:
    body = {"wsgi.input": _Endless(error), "CONTENT_LENGTH": "2"}
    answer = acme.post("/contact", environ_overrides=body)
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    if isinstance(error, GivenUpError):
        assert answer.json["message"] == error.sentence
        nobody = {"Authorization": ""}
        answer = acme.post("/contact", environ_overrides=body, headers=nobody)
        assert answer.status_code == 401


@on_sqlite
def test_a_form_of_the_console_whose_end_never_came_is_400(acme: Tenant) -> None:
    user = ConsoleUser(acme)
    form = {"csrf": user.word(), "name": "Shop", "channel": "sandbox"}
    cut = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "999"}
    ask = partial(user.http.post, "/console/sessions/new", data=form)
    assert ask(environ_overrides=cut).status_code == 400
    assert ask().status_code == 303


@on_sqlite
def test_a_doubled_slash_is_no_address_of_ours(acme: Tenant) -> None:
    for path in ("/broadcast//", "/contact//x", "/static//docs/index.js"):
        for answer in (acme.get(path), acme.post(path, json={})):
            assert (answer.status_code, answer.json["status"]) == (404, False), path


def test_no_answer_names_more_than_a_thousand_faults(acme: Tenant) -> None:
    answer = acme.post("/group", json={"name": "many", "contacts": ["nobody"] * 2000})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 1000


@on_sqlite
def test_no_answer_repeats_a_long_name_or_value(acme: Tenant) -> None:
    long = "x" * 3_000_000
    session = {"name": long, "channel": long, "settings": {long: long}}
    order = {"send_type": long, "to": long, "message": {long: {long: long}}, long: 1}

    for path, body in (
        ("/session", session),
        ("/session", {**session, "name": "a", "channel": "sandbox"}),
        ("/broadcast", order),
        ("/contact", {"name": long, "phones": [long], "emails": [long], "group_id": long}),
        ("/group", {"name": "a", "contacts": [long]}),
    ):
        answer = acme.post(path, json=body)
        assert answer.status_code == 422, (path, answer.status_code)
        assert len(answer.text) < 10_000, path


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    error = ServiceError("a" * 9_000, errors={"f" * 9_000: ["b" * 9_000, ["c" * 9_000], 7]})

    answer = failing(tmp_path, error).json

    assert len(answer["message"]) == 2_000
    [(name, reasons)] = answer["errors"].items()
    assert (len(name), name[-2:]) == (200, "f…")
    assert [len(reasons[0]), len(reasons[1][0]), reasons[2]] == [2_000, 2_000, 7]
