"""What tests stand on: a migrated database of either kind, the application, and its clients."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from alembic import command
from alembic.config import Config
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings
from werkzeug.test import TestResponse

from service.app import Application, create_app, equip
from service.config import Settings
from service.core import clients, signals, tokens
from service.core.tokens import Scope
from service.database import Database
from service.parts import Crier
from tests import connections, examples, postgres, statements
from tests.connections import kept
from tests.databases import Stock
from tests.waiting import LIMIT

pytest_plugins = ["tests.skips"]

ROOT = Path(__file__).parent.parent
# Programs of the environment, such as node and hadolint, come before those of the machine.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# SQLite waits for the disk at each commit, and in memory there is none to wait for.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(postgres.memory()))
on_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
"""Marks a test of what no database has a part in: one of them is enough."""
on_postgres = pytest.mark.parametrize("settings", ["postgres"], indirect=True)
"""Marks a test of what only Postgres has, or of what is the harder for its many writers."""

TEMPLATE = f"crier_template_{os.getpid()}"
PATIENT: dict[str, Any] = {
    "database_timeout": LIMIT,
    "connect_timeout": LIMIT,
    "check_timeout": LIMIT,
    "send_timeout": LIMIT,
    "lease": 10 * LIMIT,
}
"""Settings under which no busy machine ends a wait; a test of such an end has its own."""

statements.compile_once()
connections.keep_one()
hypothesis_settings.load_profile(examples.FEW)


class Answer(TestResponse):
    """An answer with a body of JSON."""

    if TYPE_CHECKING:

        @property
        def json(self) -> Any:
            """Return the body."""


class Tenant:
    """A client of the service, with a token and a way to use it over HTTP."""

    def __init__(self, app: Application, name: str, scope: Scope = Scope.ADMIN) -> None:
        self.crier: Crier = app.extensions["crier"]
        self.new_browser = app.test_client
        self._http: FlaskClient = app.test_client()
        with self.crier.database.writing() as db:
            self.id = clients.create(db, name).id
            self.token = tokens.create(db, self.id, "test", [scope])[1]

    def new_token(self, scope: Scope, expires_at: int | None = None) -> str:
        with self.crier.database.writing() as db:
            return tokens.create(db, self.id, "test", [scope], expires_at)[1]

    def ask(self, method: str, path: str, **request: Any) -> Answer:
        """Send a request with this tenant's token, unless it brings headers of its own."""
        return self.ask_unread(method, path, buffered=True, **request)

    def ask_unread(self, method: str, path: str, **request: Any) -> Answer:
        """Send a request and do not read its answer, which has to be closed."""
        headers = {"Authorization": f"Bearer {self.token}", **request.pop("headers", {})}
        return cast("Answer", self._http.open(path, method=method, headers=headers, **request))

    def get(self, path: str, **request: Any) -> Answer:
        return self.ask("GET", path, **request)

    def post(self, path: str, **request: Any) -> Answer:
        return self.ask("POST", path, **request)

    def put(self, path: str, **request: Any) -> Answer:
        return self.ask("PUT", path, **request)

    def delete(self, path: str, **request: Any) -> Answer:
        return self.ask("DELETE", path, **request)

    def make(self, path: str, **fields: Any) -> dict[str, Any]:
        """Create an object and return it as it was answered."""
        answer = self.post(path, json=fields)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json["data"]
        return made


def migrate(database: Database) -> None:
    """Bring a database to the newest migration."""
    config = Config(ROOT / "alembic.ini")
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    database = Database(Settings(data_dir=folder, database_timeout=LIMIT))
    migrate(database)
    database.dispose()
    return folder / "crier.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the admin URL of a server that has a migrated template."""
    with postgres.server() as admin_url:
        postgres.drop_database(admin_url, TEMPLATE)
        url = postgres.create_database(admin_url, TEMPLATE)
        database = Database(Settings(database_url=url, database_timeout=LIMIT))
        migrate(database)
        database.dispose()
        yield admin_url
        postgres.drop_database(admin_url, TEMPLATE)


@pytest.fixture(scope="session")
def postgres_stock(postgres_server: str) -> Iterator[Stock]:
    """Return what gives out this process's database, again and again."""
    stock = Stock(postgres_server, TEMPLATE)
    yield stock
    stock.close()


@contextmanager
def fresh(basic: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Give settings the fresh, migrated database of the kind that `request` has as parameter."""
    if request.param == "sqlite":
        basic.data_dir.mkdir(exist_ok=True)
        shutil.copy(request.getfixturevalue("sqlite_template"), basic.data_dir / "crier.db")
        yield basic
        return
    stock: Stock = request.getfixturevalue("postgres_stock")
    yield replace(basic, database_url=stock.take())
    stock.give_back()


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Return settings with a fresh database, once of each kind; nothing is dispatched."""
    basic = Settings(data_dir=tmp_path / "data", dispatch="off", **PATIENT)
    with fresh(basic, request) as settings:
        yield settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Return a database with all tables and no rows."""
    database = Database(settings)
    database.listen(signals.listeners(settings.signals_dir))
    yield database
    kept.leave(database, settings)


@pytest.fixture(scope="session")
def idle_apps() -> list[Application]:
    """Return the applications of earlier tests: to register all routes takes 20 ms."""
    return []


@pytest.fixture
def make_app(
    settings: Settings, idle_apps: list[Application]
) -> Iterator[Callable[..., Application]]:
    """Return what gives an application, with other settings if need be."""
    made: list[Application] = []

    def make(**changes: Any) -> Application:
        wanted = replace(settings, **changes)
        # It is wrapped for proxies when it is built.
        if idle_apps and not wanted.trusted_proxies:
            app = idle_apps.pop()
            equip(app, wanted)
        else:
            app = create_app(wanted)
        made.append(app)
        return app

    yield make
    for app in made:
        parts: Crier = app.extensions["crier"]
        kept.leave(parts.database, parts.settings)
        if not parts.settings.trusted_proxies:
            idle_apps.append(app)


@pytest.fixture
def app(make_app: Callable[..., Application]) -> Application:
    """Return the application."""
    return make_app()


@pytest.fixture
def acme(app: Application) -> Tenant:
    """Return a client that may do everything."""
    return Tenant(app, "Acme")


@pytest.fixture
def globex(app: Application) -> Tenant:
    """Return another client that may do everything."""
    return Tenant(app, "Globex")
