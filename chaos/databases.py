"""The databases that a run can be on, and what can be done to them."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from signal import SIGQUIT
from typing import Protocol

from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests import postgres

_SETTINGS = {"max_wal_size": "192MB", "min_wal_size": "64MB", "log_min_messages": "fatal"}
_NAME = "crier_chaos"
_ANSWER_WITHIN = 3.0

_OTHERS = text("SELECT pid FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()")
_CUT = text("SELECT pg_terminate_backend(:pid)")


class Base(Protocol):
    """A database for one run; `url` is what the service is told, empty for its own default."""

    url: str

    def mend(self) -> None:
        """See to it that the database works after whatever was done to it."""

    def close(self) -> None:
        """Stop it and remove what it kept."""


class Sqlite:
    """A file in the service's folder."""

    url = ""

    def mend(self) -> None:
        """Nothing of it runs by itself: leave it alone."""

    def close(self) -> None:
        """Leave the file to the folder's owner."""


class Postgres:
    """A server of its own that keeps its promises through a crash."""

    def __init__(self, base: Path | None) -> None:
        """Start a server whose data are in `base`, or on ordinary disk."""
        self._cluster = postgres.Cluster(durable=True, settings=_SETTINGS, base=base)
        try:
            self._cluster.start()
            created = postgres.create_database(self._cluster.url, _NAME)
        except BaseException:
            self._cluster.close()
            raise
        self.url = make_url(created).set(drivername="postgresql").render_as_string()
        self._admin = create_engine(
            self._cluster.url, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )

    def crash(self) -> None:
        """Stop as by `pg_ctl stop -m immediate`: nothing is written any more."""
        self._cluster.stop(SIGQUIT)

    def restart(self) -> None:
        """Start again after a crash and wait until it takes connections."""
        self._cluster.start()

    def silent(self) -> AbstractContextManager[None]:
        """Stop its processes within the block: connections stay open, and nothing answers."""
        return self._cluster.silent()

    def cut(self, chance: Random) -> int:
        """Cut some of the service's connections, or all of them; return how many."""
        with self._admin.connect() as connection:
            pids = list(connection.scalars(_OTHERS, {"name": _NAME}))
            chosen = [pid for pid in pids if chance.random() < chance.choice((0.3, 1.0))]
            for pid in chosen:
                connection.execute(_CUT, {"pid": pid})
        return len(chosen)

    def mend(self) -> None:
        """Start the server again if it has gone, as it does when it cannot write its log."""
        deadline = time.monotonic() + _ANSWER_WITHIN
        while time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(0.1)
        self._cluster.stop(SIGQUIT)
        self._cluster.start()

    def close(self) -> None:
        """Stop the server and remove what it kept."""
        self._admin.dispose()
        self._cluster.close()

    def _answers(self) -> bool:
        try:
            with self._admin.connect() as connection:
                connection.execute(text("SELECT 1"))
        except OperationalError:
            return False
        return True
