"""A process of a machine that takes from an allowance.

It says that it is ready. For each burst that it is told, it takes with several threads at once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from service.config import Settings
from service.core import rate_table, shared_rates
from service.core.allowances import Allowances
from service.core.rate_table import RateTable
from service.core.rates import DrawResult, Rate
from service.database import Database
from tests.waiting import LIMIT

THREADS = 8


def take(asked: Connection, path: Path, url: str, attempts: int, moment: int) -> None:
    """Take so often at one moment, and answer how often that was granted, for each burst."""
    database = Database(Settings(database_url=url, database_timeout=LIMIT)) if url else None
    # Who waits too long for a lock is allowed: on a busy machine, one that has it may stand still.
    rate_table._PATIENCE = LIMIT  # type: ignore[misc]  # noqa: SLF001

    def lend(key: str, rate: Rate) -> DrawResult:
        assert database
        with database.writing() as db:
            return shared_rates.lend(db, key, rate, now=moment)

    allowances = Allowances(RateTable(path), lend if database else None)
    asked.send("ready")
    while burst := asked.recv():
        once = partial(allowances.take, str(burst), Rate(burst, 1_000_000), now=moment)
        with ThreadPoolExecutor(THREADS) as pool:
            taken = [pool.submit(once) for _ in range(attempts)]
            asked.send(sum(each.result().is_granted for each in taken))
