"""A process of a machine that takes from an allowance: `python -m tests.taking`, see `main`.

It says that it is ready. For each line with a burst, it takes with several threads at once.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from service.config import Settings
from service.core import rate_table, shared_rates
from service.core.allowances import Allowances
from service.core.rate_table import RateTable
from service.core.rates import DrawResult, Rate
from service.database import Database
from tests.waiting import LIMIT

THREADS = 8


def main(path: str, url: str, attempts: str, now: str) -> None:
    """Take so often at one moment, and print how often that was granted, for each burst."""
    moment = int(now)
    database = Database(Settings(database_url=url, database_timeout=LIMIT)) if url else None
    # Who waits too long for a lock is allowed: on a busy machine, one that has it may stand still.
    rate_table._PATIENCE = LIMIT  # type: ignore[misc]  # noqa: SLF001

    def lend(key: str, rate: Rate) -> DrawResult:
        assert database
        with database.writing() as db:
            return shared_rates.lend(db, key, rate, now=moment)

    allowances = Allowances(RateTable(Path(path)), lend if database else None)
    print("ready", flush=True)  # noqa: T201 - its parent reads it
    for burst in sys.stdin:
        take = partial(allowances.take, burst, Rate(int(burst), 1_000_000), now=moment)
        with ThreadPoolExecutor(THREADS) as pool:
            taken = [pool.submit(take) for _ in range(int(attempts))]
            granted = sum(each.result().is_granted for each in taken)
        print(granted, flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main(*sys.argv[1:])
