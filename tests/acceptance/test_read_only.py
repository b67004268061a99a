"""The service on a Postgres or on a data folder that takes no writes for a while."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import Popen

from sqlalchemy import NullPool, create_engine, text

from service.app import Application
from service.config import Settings
from tests.conftest import Tenant, on_postgres
from tests.isolated import needs_isolation
from tests.provider import Provider
from tests.sending import Sending
from tests.serving import ROOT, Caller, Server, running
from tests.waiting import until
from tests.world import numbers

MakeApp = Callable[..., Application]
BODY = {"send_type": "individual", "to": "2348179803743", "message": {"text": "Hello"}}


@contextmanager
def read_only(settings: Settings) -> Iterator[None]:
    """Let sessions that begin within the block take no writes; those that are there are cut."""
    admin = create_engine(settings.database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    cut = text(f"SELECT pid, pg_terminate_backend(pid) {others}")
    still_there = text(f"SELECT 1 {others} AND pid = ANY(:pids) LIMIT 1")
    with admin.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        pids = {"pids": [pid for pid, _ in connection.execute(cut)]}
        until(lambda: not connection.scalar(still_there, pids))
        yield
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")


@on_postgres
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


class OnReadOnlyData(Server):
    """gunicorn in a mount namespace in which its data folder takes no writes."""

    def begin(self) -> Popen[bytes]:
        protect = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'
        enter = ["unshare", "--mount", "sh", "-c", protect, self._environment["DATA_DIR"]]
        program = [*enter, sys.executable, "-m", *self._command]
        return Popen(program, cwd=ROOT, env=self._environment)


def upload(server: Server, token: str) -> int:
    """Upload a file and return the status of the answer."""
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nA\r\n--x--'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return Caller(server.port, token).ask("POST", "/attachment", form, kind).status


@needs_isolation
@on_postgres
def test_messages_are_sent_and_files_refused_while_the_data_folder_takes_no_writes(
    settings: Settings, make_app: MakeApp, provider: Provider
) -> None:
    sending = Sending(make_app(dispatch="off", private_addresses=True), provider)
    session = sending.session()
    server = OnReadOnlyData(settings, PRIVATE_ADDRESSES="true")
    with running(server):
        broadcast_id = sending.broadcast(numbers(20), session)
        sending.await_completed(broadcast_id)
        assert upload(server, sending.client.token) == 503
        assert server.terminate() == 0
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(numbers(20), 1)
