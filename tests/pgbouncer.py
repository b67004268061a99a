"""A PgBouncer before a server of the tests: Debian's package, in transaction mode."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.postgres import Cluster
from tests.waiting import until

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed: apt-get install pgbouncer"
)

PORT = 6432
# Fewer connections to the server than the service has: each of its transactions gets another one.
CONFIG = """
[databases]
* = host={folder}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = {port}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
"""


@contextmanager
def pooling(cluster: Cluster) -> Iterator[str]:
    """Run a PgBouncer beside a server; give the URL of the server's database behind it."""
    folder, config, socket = (
        cluster.folder,
        cluster.folder / "pgbouncer.ini",
        cluster.folder / f".s.PGSQL.{PORT}",
    )
    config.write_text(CONFIG.format(folder=folder, port=PORT))
    Path(folder, "users").write_text('"postgres" ""\n')
    process = cluster.run(str(PROGRAM), "--quiet", str(config))
    try:
        until(lambda: socket.exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield (
            make_url(cluster.url)
            .update_query_dict({"port": str(PORT)})
            .render_as_string(hide_password=False)
        )
    finally:
        process.terminate()
        process.wait()
