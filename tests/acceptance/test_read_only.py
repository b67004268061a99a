"""The service on a Postgres that takes no writes for a while, as after a failover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import NullPool, create_engine, text

from service.app import Application
from service.config import Settings
from tests.conftest import Tenant

MakeApp = Callable[..., Application]
BODY = {"send_type": "individual", "to": "2348179803743", "message": {"text": "Hello"}}


@contextmanager
def read_only(settings: Settings) -> Iterator[None]:
    """Let sessions that begin within the block take no writes; those that are there are cut."""
    admin = create_engine(settings.database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    cut = text("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()""")
    with admin.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connection.execute(cut)
        yield
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")


@pytest.mark.parametrize("settings", ["postgres"], indirect=True)
def test_it_is_read_and_not_written_and_works_at_once_afterwards(
    settings: Settings, make_app: MakeApp
) -> None:
    acme = Tenant(make_app(), "Acme")
    acme.make("/session", name="sandbox", channel="sandbox", settings={})
    with read_only(settings):
        for _ in range(8):
            assert acme.get("/broadcast").status_code == 200
            refused = acme.post("/broadcast", json=BODY)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        unready = acme.get("/readyz")
        assert unready.status_code == 503
        assert "not written" in unready.json["errors"]["database"][0]
        assert "crier_database_up 1.0" in acme.get("/metrics").text
        assert acme.get("/healthz").status_code == 200
    assert [acme.post("/broadcast", json=BODY).status_code for _ in range(8)] == [201] * 8
    assert acme.get("/readyz").status_code == 200
