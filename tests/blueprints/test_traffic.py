"""One line in the log for each request, and what it does not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.http import http_date

from service.app import Application
from service.core import tokens
from service.core.allowances import Allowance
from service.core.tokens import Scope
from service.database import now_ms
from tests.conftest import Tenant, on_sqlite

MakeApp = Callable[..., Application]
Capture = pytest.CaptureFixture[str]


def lines(capsys: Capture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@on_sqlite
def test_a_request_is_one_line(acme: Tenant, capsys: Capture) -> None:
    answer = acme.get("/contact/nonsense?access_token=" + acme.token)
    [line] = lines(capsys)
    assert line["event"] == "request"
    assert (line["method"], line["status"]) == ("GET", 422 if answer.status_code == 422 else 404)
    assert line["route"] == "/contact/<id:contact_id>"
    assert line["path"] == "/contact/…"
    assert line["client"] == acme.id
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert line["ms"] > 0


@on_sqlite
def test_a_request_beyond_a_limit_is_logged_with_its_client(
    acme: Tenant, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Allowance(is_granted=False, left=0, wait=1_000)
    monkeypatch.setattr(acme.crier.requests, "take", lambda _key, _rate: refused)
    assert acme.get("/contact").status_code == 429
    [line] = lines(capsys)
    assert (line["status"], line["client"]) == (429, acme.id)


@on_sqlite
def test_neither_tokens_nor_texts_nor_numbers_are_logged(acme: Tenant, capsys: Capture) -> None:
    acme.make("/session", name="main", channel="sandbox")
    message = {"text": "a private matter"}
    acme.make("/broadcast", send_type="individual", to="2348179803743", message=message)
    acme.post("/broadcast", data='{"to": "2349048988056", "a private matter')
    acme.get(f"/contact?access_token={acme.token}")
    acme.get("/contact", json={"access_token": acme.token})
    logged = capsys.readouterr().err
    assert logged.count("\n") == 5
    for secret in (acme.token, "a private matter", "2348179803743", "2349048988056"):
        assert secret not in logged


@on_sqlite
@pytest.mark.parametrize("given", ["abc-123", "0af7651916cd43dd8448eb211c80319c", "x" * 128])
def test_a_sane_request_id_is_kept(acme: Tenant, given: str) -> None:
    answer = acme.get("/healthz", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == given


@on_sqlite
@pytest.mark.parametrize("given", ["", "with blanks", "x" * 129, "<script>", '"'])
def test_any_other_gets_a_new_one(acme: Tenant, given: str) -> None:
    answer = acme.get("/healthz", headers={"X-Request-Id": given})
    assert len(answer.headers["X-Request-Id"]) == 24


@on_sqlite
def test_answers_to_a_client_are_not_cached(acme: Tenant) -> None:
    answer = acme.get("/contact")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "crier.example"}


@on_sqlite
@pytest.mark.parametrize(
    ("proxies", "base"), [(0, "http://localhost"), (1, "https://crier.example")]
)
def test_forwarded_headers_count_only_behind_a_trusted_proxy(
    make_app: MakeApp, proxies: int, base: str
) -> None:
    acme = Tenant(make_app(trusted_proxies=proxies), "Acme")
    for name in ("Ada", "Ben"):
        acme.make("/contact", name=name, phones=["2348179803743"])
    answer = acme.get("/contact?page_size=1", headers=FORWARDED)
    assert answer.headers["Link"] == f'<{base}/contact?page_size=1&page=2>; rel="next"'


@on_sqlite
def test_the_log_can_be_for_people(make_app: MakeApp, capsys: Capture) -> None:
    app = make_app(log_format="console")
    app.test_client().get("/healthz")
    assert "request" in capsys.readouterr().err


@on_sqlite
@pytest.mark.parametrize(
    "path", ["/session/ID/opt-out/12025550177", "/nowhere/12025550177", "/+12025550177/x"]
)
def test_no_telephone_number_of_a_path_gets_into_the_log(
    acme: Tenant, capsys: Capture, path: str
) -> None:
    acme.delete(path.replace("ID", "a" * 24))
    [line] = lines(capsys)
    assert "12025550177" not in str(line)
    assert "…" in line["path"]


@on_sqlite
def test_an_id_of_a_path_gets_into_the_log(acme: Tenant, capsys: Capture) -> None:
    acme.get(f"/contact/{'1' * 24}")
    [line] = lines(capsys)
    assert line["path"] == f"/contact/{'1' * 24}"


@on_sqlite
def test_an_answer_tells_of_a_token_that_expires_soon(acme: Tenant) -> None:
    assert "Token-Expires" not in acme.get("/contact").headers
    acme.token = acme.new_token(Scope.READ, tokens.in_days(40, now=now_ms()))
    assert "Token-Expires" not in acme.get("/contact").headers
    acme.token = acme.new_token(Scope.READ, 4_000_000_000_000)
    assert "Token-Expires" not in acme.get("/contact").headers
    moment = tokens.in_days(20, now=now_ms())
    acme.token = acme.new_token(Scope.READ, moment)
    assert acme.get("/contact").headers["Token-Expires"] == http_date(moment / 1000)
