"""The command line, where an operator works; what it runs for long is tested as processes are."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask.testing import FlaskCliRunner
from sqlalchemy import text

from service.app import Application
from service.core import callers, clients, sessions, sign_ins
from service.core.paging import PageRequest
from service.core.tokens import Scope
from service.database import Database, now_ms
from service.errors import UnauthorisedError
from service.models import Session
from service.parts import Crier
from tests.conftest import ROOT, Tenant, on_sqlite
from tests.house.test_migrations import migrate, tables
from tests.serving import free_port

SECRET = re.compile("crier_[0-9a-f]{40}")
ID = re.compile("[0-9a-f]{24}")

Flask = Callable[..., Result]


@pytest.fixture
def flask(app: Application) -> Flask:
    """Return what runs a command, as `flask --app wsgi` does."""
    runner: FlaskCliRunner = app.test_cli_runner()

    def run(*words: str) -> Result:
        with app.app_context():
            return runner.invoke(args=list(words))

    return run


@pytest.fixture
def crier(app: Application) -> Crier:
    parts: Crier = app.extensions["crier"]
    return parts


def printed(result: Result) -> str:
    """Return what a command printed that did not fail."""
    assert result.exit_code == 0, result.output
    return result.output.strip()


def complaint(result: Result) -> str:
    """Return what a command complained of: a sentence and no trace."""
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    return result.output


def scopes_of(crier: Crier, secret: str) -> set[Scope]:
    with crier.database.reading() as db:
        return set(callers.verify(db, secret, now_ms()).scopes)


# Clients


def test_a_client_gets_limits_of_its_own_and_loses_them(flask: Flask) -> None:
    flask("client", "create", "acme")
    told = printed(flask("client", "limits", "acme"))
    assert "requests: 200 (LIMIT_REQUESTS)" in told
    assert "sessions: 1 of 100 (LIMIT_SESSIONS)" in told
    told = printed(flask("client", "limits", "acme", "--sessions", "7", "--opt-outs", "9"))
    assert "sessions: 1 of 7 (its own)" in told
    assert "opt_outs: 0 of 9 (its own)" in told
    assert "sessions: 1 of 7" in printed(flask("client", "limits", "acme"))
    told = printed(flask("client", "limits", "acme", "--default", "--groups", "3"))
    assert "sessions: 1 of 100 (LIMIT_SESSIONS)" in told
    assert "groups: 0 of 3 (its own)" in told
    assert flask("client", "limits", "acme", "--groups", "0").exit_code == 2
    assert flask("client", "limits", "nobody").exit_code == 1


def test_a_new_client_can_try_the_sandbox_at_once(flask: Flask, crier: Crier) -> None:
    said = printed(flask("client", "create", "Acme"))
    with crier.database.reading() as db:
        client = clients.get(db, "Acme")
        (session,) = sessions.page(db, client.id, PageRequest()).items
    assert client.id in said
    assert re.search(r"Next: \S*flask token create Acme$", said)
    assert (session.channel, session.is_default) == ("sandbox", True)


def test_clients_are_listed_the_oldest_first(flask: Flask) -> None:
    assert printed(flask("client", "list")) == ""
    for name in ("Globex", "Acme"):
        flask("client", "create", name)
    lines = printed(flask("client", "list")).splitlines()
    assert [line.split() for line in lines] == [
        [ID.search(lines[0])[0], "Globex"],  # type: ignore[index]
        [ID.search(lines[1])[0], "Acme"],  # type: ignore[index]
    ]


def test_a_name_is_given_once(flask: Flask) -> None:
    printed(flask("client", "create", "Acme"))
    assert "Acme" in complaint(flask("client", "create", "Acme"))
    assert len(printed(flask("client", "list")).splitlines()) == 1
    assert flask("client", "create", "Ac\nme").exit_code == 2
    assert flask("client", "create", "A" * 201).exit_code == 2
    assert "needs a name" in complaint(flask("client", "create", "  "))


# Tokens


def test_a_token_is_printed_alone_so_that_a_shell_can_take_it(flask: Flask, crier: Crier) -> None:
    flask("client", "create", "Acme")
    secret = printed(flask("token", "create", "Acme"))
    assert SECRET.fullmatch(secret)
    assert scopes_of(crier, secret) == {Scope.READ, Scope.SEND}


@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_may_do_what_it_was_made_for(flask: Flask, crier: Crier, scope: Scope) -> None:
    flask("client", "create", "Acme")
    secret = printed(flask("token", "create", "Acme", "--scope", scope.value))
    assert scope in scopes_of(crier, secret)
    assert (Scope.ADMIN in scopes_of(crier, secret)) == (scope is Scope.ADMIN)


def test_a_token_expires_within_a_year_unless_it_is_to_last_forever(
    flask: Flask, crier: Crier
) -> None:
    flask("client", "create", "Acme")
    usual = printed(flask("token", "create", "Acme"))
    forever = printed(flask("token", "create", "Acme", "--forever"))
    over = now_ms() + 366 * 86_400_000
    with crier.database.reading() as db:
        callers.verify(db, forever, over)
        with pytest.raises(UnauthorisedError):
            callers.verify(db, usual, over)


def test_a_list_of_tokens_tells_which_expire_soon(flask: Flask) -> None:
    flask("client", "create", "Acme")
    for days in ("29", "40"):
        flask("token", "create", "Acme", "--days", days)
    soon, late = printed(flask("token", "list", "Acme")).splitlines()
    assert soon.endswith(", soon  never used")
    assert "soon" not in late


def test_a_token_is_replaced_and_the_list_tells_until_when_the_former_is_valid(
    flask: Flask, crier: Crier
) -> None:
    flask("client", "create", "Acme")
    former = printed(flask("token", "create", "Acme", "--scope", "read"))
    new = printed(flask("token", "rotate", former, "--overlap", "3600", "--forever"))
    assert scopes_of(crier, former) == scopes_of(crier, new) == {Scope.READ}
    first, second = printed(flask("token", "list", "Acme")).splitlines()
    assert "replaced" in first
    assert "does not expire" in second
    assert "replaced already" in complaint(flask("token", "rotate", former))
    last = printed(flask("token", "rotate", new, "--overlap", "0"))
    with pytest.raises(UnauthorisedError, match="newer token has replaced"):
        scopes_of(crier, new)
    assert scopes_of(crier, last) == {Scope.READ}


def test_a_disabled_client_is_marked_until_it_is_enabled(flask: Flask) -> None:
    flask("client", "create", "Acme")
    assert "0 of its broadcasts are paused" in printed(flask("client", "disable", "Acme"))
    assert printed(flask("client", "list")).endswith("Acme  disabled")
    assert "0 of its broadcasts continue" in printed(flask("client", "enable", "Acme"))
    assert printed(flask("client", "list")).endswith("Acme")
    assert "Nobody" in complaint(flask("client", "disable", "Nobody"))


def test_a_token_may_expire(flask: Flask, crier: Crier) -> None:
    flask("client", "create", "Acme")
    secret = printed(flask("token", "create", "Acme", "--days", "2"))
    almost, over = (now_ms() + round(days * 86_400_000) for days in (1.99, 2.01))
    with crier.database.reading() as db:
        callers.verify(db, secret, almost)
        with pytest.raises(UnauthorisedError):
            callers.verify(db, secret, over)


def test_a_list_of_tokens_tells_them_apart_and_no_secret(flask: Flask) -> None:
    for name in ("Acme", "Globex"):
        flask("client", "create", name)
    secrets = [
        printed(flask("token", "create", client, "--name", name))
        for client, name in (("Acme", "shop"), ("Acme", "till"), ("Globex", "office"))
    ]
    everything, of_acme = printed(flask("token", "list")), printed(flask("token", "list", "Acme"))
    assert [name in everything for name in ("shop", "till", "office")] == [True] * 3
    assert [name in of_acme for name in ("shop", "till", "office")] == [True, True, False]
    assert not any(secret in everything for secret in secrets)


@pytest.mark.parametrize("named_by", ["secret", "prefix", "id"])
def test_a_revoked_token_ends(flask: Flask, crier: Crier, named_by: str) -> None:
    flask("client", "create", "Acme")
    secret = printed(flask("token", "create", "Acme"))
    line = printed(flask("token", "list"))
    names = {"secret": secret, "prefix": secret[:12], "id": line.split()[0]}
    assert secret not in printed(flask("token", "revoke", names[named_by]))
    with crier.database.reading() as db, pytest.raises(UnauthorisedError):
        callers.verify(db, secret, now_ms())
    assert "revoked" in printed(flask("token", "list"))


def test_what_is_not_there_is_said_so(flask: Flask) -> None:
    said = complaint(flask("token", "create", "Nobody"))
    assert "'Nobody'" in said
    assert "You have no" not in said
    assert "Nobody" in complaint(flask("token", "list", "Nobody"))
    complaint(flask("token", "revoke", "crier_123456"))


@on_sqlite
@pytest.mark.parametrize("words", [("--scope", "everything"), ("--days", "0"), ("--days", "soon")])
def test_what_makes_no_sense_is_refused(flask: Flask, words: tuple[str, ...]) -> None:
    flask("client", "create", "Acme")
    assert flask("token", "create", "Acme", *words).exit_code == 2
    assert printed(flask("token", "list")) == ""


# Migrate and welcome


@pytest.fixture
def fresh(crier: Crier) -> Database:
    """Return the database without its tables."""
    migrate(crier.database, "base", down=True)
    return crier.database


def test_migrate_makes_the_tables_and_may_be_repeated(flask: Flask, fresh: Database) -> None:
    for _ in range(2):
        printed(flask("migrate"))
        assert {"broadcasts", "deliveries"} <= tables(fresh)


def test_a_database_without_tables_is_named_as_the_reason(flask: Flask, fresh: Database) -> None:
    del fresh
    assert "flask migrate" in complaint(flask("client", "list"))


def test_a_dispatcher_without_tables_says_what_to_do(flask: Flask, fresh: Database) -> None:
    del fresh
    assert re.search(r"run `\S*flask migrate`", complaint(flask("dispatch")))


@pytest.mark.parametrize("words", [("migrate",), ("welcome", "--address", "x"), ("client", "list")])
def test_a_database_that_is_away_is_a_sentence(
    make_app: Callable[..., Application], words: tuple[str, ...]
) -> None:
    app = make_app(database_url="postgresql://nobody@127.0.0.1:1/none")
    with app.app_context():
        said = complaint(app.test_cli_runner().invoke(args=list(words)))
    assert "Connection refused" in said
    assert "and whether the database is running" in said


def test_a_port_in_use_is_named_before_anything_is_made(
    flask: Flask, fresh: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        monkeypatch.setenv("PORT", port)
        assert f"Port {port} on 127.0.0.1" in complaint(flask("welcome"))
    monkeypatch.setenv("PORT", "soon")
    assert "'soon'" in complaint(flask("welcome"))
    assert "broadcasts" not in tables(fresh)


def test_a_database_of_a_newer_version_is_left_alone(flask: Flask, crier: Crier) -> None:
    with crier.database.writing() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999_from_the_future'"))
    said = complaint(flask("migrate"))
    assert "Another version" in said
    assert "9999_from_the_future" in said


def test_every_command_says_what_it_does(app: Application) -> None:
    with app.app_context():
        context = click.Context(app.cli)
        for name in app.cli.list_commands(context):
            command = app.cli.get_command(context, name)
            assert command is not None
            assert command.name == name
            assert command.get_short_help_str()


def test_web_workers_leave_the_commands_and_alembic_alone() -> None:
    probe = "import sys, wsgi; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "sqlalchemy" in done.stdout.split()
    assert "alembic" not in done.stdout.split()


def test_the_first_start_makes_a_client_and_a_request_to_paste(
    flask: Flask, fresh: Database, crier: Crier, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fresh
    # The usual port may be in use on a developer's machine.
    monkeypatch.setenv("PORT", str(free_port()))
    said = printed(flask("welcome", "--address", "http://127.0.0.1:9876"))
    (secret,) = set(SECRET.findall(said))
    assert Scope.ADMIN in scopes_of(crier, secret)
    assert "curl" in said
    assert "http://127.0.0.1:9876/broadcast" in said
    line, console = flask("welcome").stdout.splitlines()
    assert re.search(r"/docs\. A new token: \S*flask token create default --scope admin$", line)
    assert re.search(r"http://127\.0\.0\.1:\d+/console/sign-in\?link=[\w-]{40,}$", console)


def test_a_link_to_the_console_signs_its_client_in(flask: Flask, crier: Crier) -> None:
    flask("client", "create", "Acme")
    line = printed(
        flask("console", "link", "Acme", "--scope", "read", "--address", "https://c.example/")
    )
    assert line.startswith("https://c.example/console/sign-in?link=")
    with crier.database.writing() as db:
        secret = sign_ins.by_link(db, line.strip().partition("=")[2], now=now_ms())
        visitor = sign_ins.find(db, secret, now=now_ms())
    assert visitor is not None
    assert (visitor.client, visitor.may(Scope.SEND)) == ("Acme", False)


# Secrets


OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
WAHA = {"base_url": "https://waha.example", "api_key": "waha-key"}


@pytest.fixture
def with_keys(make_app: Callable[..., Application]) -> Callable[..., Flask]:
    """Return what runs commands as a process with these keys does."""

    def choose(*keys: str) -> Flask:
        app = make_app(secret_key=",".join(keys))

        def run(*words: str) -> Result:
            with app.app_context():
                return app.test_cli_runner().invoke(args=list(words))

        return run

    return choose


@pytest.fixture
def phone(make_app: Callable[..., Application]) -> str:
    """Return the id of a session whose secrets are encrypted with the old key."""
    acme = Tenant(make_app(secret_key=OLD), "Acme")
    made: str = acme.make("/session", name="phone", channel="waha", settings=WAHA)["_id"]
    return made


def test_a_rotation_says_when_the_old_key_may_go(
    with_keys: Callable[..., Flask], phone: str
) -> None:
    assert phone in complaint(with_keys(NEW)("secrets", "rotate"))
    said = printed(with_keys(NEW, OLD)("secrets", "rotate"))
    assert "secrets of 1 sessions." in said
    assert "SECRET_KEY needs no other" in said
    assert "secrets of 0 sessions." in printed(with_keys(NEW)("secrets", "rotate"))


def test_a_lost_key_is_given_up_only_when_that_is_confirmed(
    with_keys: Callable[..., Flask], phone: str
) -> None:
    assert with_keys(NEW)("secrets", "forget").exit_code == 1
    assert phone in complaint(with_keys(NEW)("secrets", "rotate"))
    assert phone in printed(with_keys(NEW)("secrets", "forget", "--yes"))
    assert "needs no other" in printed(with_keys(NEW)("secrets", "rotate"))


def test_a_dispatcher_with_the_key_of_another_service_says_so(
    with_keys: Callable[..., Flask], phone: str
) -> None:
    said = complaint(with_keys(NEW)("dispatch"))
    assert f"phone ({phone})" in said
    assert "SECRET_KEY" in said


def test_a_migration_marks_the_secrets_of_the_version_before(
    with_keys: Callable[..., Flask], phone: str, crier: Crier
) -> None:
    with crier.database.writing() as db:
        db.execute(text("UPDATE sessions SET sealed_by = NULL"))
    printed(with_keys(OLD)("migrate"))
    with crier.database.reading() as db:
        assert db.get_one(Session, phone).sealed_by is not None


# Users


def test_root_is_told_that_it_is_root(flask: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert flask("welcome").stderr == ""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "Running as root" in flask("welcome").stderr


def test_no_command_makes_a_second_database_by_the_way(
    make_app: Callable[..., Application], tmp_path: Path
) -> None:
    app = make_app(database_url="", data_dir=tmp_path / "elsewhere")
    with app.app_context():
        said = complaint(app.test_cli_runner().invoke(args=["client", "list"]))
    assert f"There is no database {tmp_path}/elsewhere/crier.db." in said
    assert "DATA_DIR" in said
    assert not (tmp_path / "elsewhere/crier.db").exists()


@pytest.mark.parametrize(
    ("bound", "address"),
    [
        ("", "http://127.0.0.1:9123"),
        ("0.0.0.0:9001", "http://127.0.0.1:9001"),
        ("unix:/run/crier.sock,127.0.0.1:9002", "http://127.0.0.1:9002"),
        ("[::]:9003", "http://[::1]:9003"),
        ("crier.internal", "http://crier.internal:8000"),
    ],
)
def test_a_link_leads_to_where_the_service_listens(
    flask: Flask, crier: Crier, monkeypatch: pytest.MonkeyPatch, bound: str, address: str
) -> None:
    del crier
    monkeypatch.setenv("PORT", "9123")
    monkeypatch.setenv("BIND", bound)
    flask("client", "create", "Acme")
    assert printed(flask("console", "link", "Acme")).startswith(f"{address}/console/sign-in?")


def test_where_the_service_has_only_sockets_a_link_needs_an_address(
    flask: Flask, crier: Crier, monkeypatch: pytest.MonkeyPatch
) -> None:
    del crier
    monkeypatch.setenv("BIND", "unix:/run/crier.sock")
    flask("client", "create", "Acme")
    assert "--address" in complaint(flask("console", "link", "Acme"))
    assert printed(flask("console", "link", "Acme", "--address", "http://a"))


def test_an_action_of_which_there_is_no_entry_is_told_with_those_that_there_are(
    flask: Flask, crier: Crier
) -> None:
    del crier
    assert flask("audit", "--action", "x").stderr == (
        "The log has no entry of the action 'x'. It is empty.\n"
    )
    flask("client", "create", "Acme")
    flask("token", "create", "Acme")
    seen = flask("audit", "--action", "tokn.create")
    assert (seen.exit_code, seen.stdout) == (0, "")
    assert seen.stderr.endswith("It has client.create, token.create.\n")
    assert not flask("audit", "--action", "token.create", "--until", "2020-01-01").output
