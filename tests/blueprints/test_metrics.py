"""The metrics over HTTP: for the right eyes, in the right format, and with the backlog."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from service.app import Application
from service.core.deliveries import chunks
from service.database import now_ms
from tests.conftest import Tenant, on_sqlite
from tests.readings import own, parsed, value
from tests.world import numbers

TOKEN = "sécret"


def ask(app: Application, address: str = "127.0.0.1", **headers: str) -> tuple[int, Headers, str]:
    named = {name.replace("_", "-"): words for name, words in headers.items()}
    origin = {"REMOTE_ADDR": address}
    answer = app.test_client().get("/metrics", headers=named, environ_overrides=origin)
    return answer.status_code, answer.headers, answer.text


@on_sqlite
@pytest.mark.parametrize(
    ("proxies", "address", "forwarded", "status"),
    [
        (0, "127.0.0.1", None, 200),
        (0, "127.3.2.1", None, 200),
        (0, "::1", None, 200),
        (0, "::ffff:127.0.0.1", None, 200),
        (0, "203.0.113.7", None, 403),
        (0, "10.0.0.7", None, 403),
        (0, "", None, 403),
        (0, "127.0.0.1", "203.0.113.7", 403),
        (0, "127.0.0.1", "127.0.0.1", 403),
        (1, "127.0.0.1", None, 200),
        (1, "127.0.0.1", "203.0.113.7", 403),
        (1, "127.0.0.1", "127.0.0.1, 203.0.113.7", 403),
        (1, "", "203.0.113.7, 127.0.0.1", 200),
        (2, "127.0.0.1", "203.0.113.7", 403),
        (2, "127.0.0.1", "127.0.0.1", 403),
    ],
)
def test_without_a_token_only_this_machine_reads_them(
    make_app: Callable[..., Application],
    proxies: int,
    address: str,
    forwarded: str | None,
    status: int,
) -> None:
    headers = {"X_Forwarded_For": forwarded} if forwarded else {}
    assert ask(make_app(trusted_proxies=proxies), address, **headers)[0] == status


def test_with_a_token_set_it_alone_opens_them(make_app: Callable[..., Application]) -> None:
    app = make_app(metrics_token=TOKEN)
    assert ask(app)[0] == 401
    status, headers, content = ask(app, Authorization="Bearer wrong")
    assert (status, json.loads(content)["status"]) == (401, False)
    assert 'error="invalid_token"' in headers["WWW-Authenticate"]
    assert ask(app, Authorization="Basic ü")[0] == 401
    assert ask(app, Authorization="Bearer ü")[0] == 401
    on_the_wire = TOKEN.encode().decode("latin-1")
    assert ask(app, "203.0.113.7", Authorization=f"Bearer {on_the_wire}")[0] == 200


def test_prometheus_gets_the_format_that_it_asks_for(app: Application) -> None:
    status, headers, content = ask(app)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert headers["Cache-Control"] == "no-store"
    assert "# TYPE crier_requests_total counter" in content
    openmetrics = ask(app, Accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics[1]["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics[2].endswith("# EOF\n")


def test_requests_are_counted_by_rule_and_not_by_what_the_client_made_up(acme: Tenant) -> None:
    before = own()
    for path in ("/attachment/000000000000000000000001", "/attachment/nonsense", "/no/such"):
        assert acme.get(path).status_code == 404
    acme.ask("BREW", "/attachment")
    made = {
        (name, labels): count - before.get((name, labels), 0.0)
        for (name, labels), count in own().items()
        if name == "crier_requests_total" and count != before.get((name, labels))
    }
    assert {tuple(sorted(dict(labels).items())): count for (_, labels), count in made.items()} == {
        (("method", "GET"), ("route", "/attachment/<id:attachment_id>"), ("status", "404")): 2,
        (("method", "GET"), ("route", "none"), ("status", "404")): 1,
        (("method", "other"), ("route", "none"), ("status", "405")): 1,
    }


def test_the_queue_is_what_is_accepted_and_not_final(acme: Tenant, app: Application) -> None:
    order = {"send_type": "individual", "message": {"text": "Hello"}}
    acme.make("/session", name="main", channel="sandbox", settings={})
    first = acme.make("/broadcast", **order, to=",".join(numbers(5)))["_id"]
    second = acme.make("/broadcast", **order, to=",".join(numbers(2)))["_id"]
    acme.post(f"/broadcast/{second}/pause")
    with acme.crier.database.writing() as db:
        chunks.fan_out(db, first, now=now_ms() - 60_000)
        chunks.fan_out(db, second, now=now_ms() - 90_000)
    samples = parsed(ask(app)[2])
    queue = {"name": "crier_queue_deliveries", "channel": "sandbox"}
    assert value(samples, **queue, broadcast="sending") == 5
    assert value(samples, **queue, broadcast="paused") == 2
    oldest = {"channel": "sandbox", "session": "ready"}
    assert 60 <= value(samples, "crier_queue_oldest_seconds", **oldest) < 90
    assert value(samples, "crier_database_up") == 1


def test_nothing_queued_is_said_as_nothing_and_not_left_out(app: Application) -> None:
    samples = parsed(ask(app)[2])
    for name, labels in {
        "crier_queue_deliveries": {"channel": "waha", "broadcast": "sending"},
        "crier_queue_oldest_seconds": {"channel": "waha", "session": "ready"},
        "crier_dispatchers": {},
    }.items():
        assert samples[name, frozenset(labels.items())] == 0


def test_without_the_database_the_processes_own_metrics_are_still_there(
    make_app: Callable[..., Application], tmp_path: Path
) -> None:
    app = make_app(database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    status, _, content = ask(app)
    samples = parsed(content)
    assert status == 200
    assert value(samples, "crier_database_up") == 0
    assert not [name for name, _ in samples if name.startswith("crier_queue")]
