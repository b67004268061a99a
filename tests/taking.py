"""A process of a machine that takes from an allowance: `python -m tests.taking`, see `main`.

It says that it is ready, waits for a line, and then takes with several threads at once.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.config import Settings
from service.core import shared_rates
from service.core.allowances import Allowances
from service.core.rate_table import RateTable
from service.core.rates import DrawResult, Rate
from service.database import Database

THREADS = 8


def main(path: str, url: str, burst: str, attempts: str, now: str) -> None:
    """Take so often at one moment, and print how often that was granted."""
    moment, rate = int(now), Rate(int(burst), 1_000_000)
    database = Database(Settings(database_url=url)) if url else None

    def lend(key: str, rate: Rate) -> DrawResult:
        assert database
        with database.writing() as db:
            return shared_rates.lend(db, key, rate, now=moment)

    allowances = Allowances(RateTable(Path(path)), lend if database else None)
    print("ready", flush=True)  # noqa: T201 - its parent reads it
    sys.stdin.readline()
    with ThreadPoolExecutor(THREADS) as pool:
        taken = pool.map(lambda _: allowances.take("key", rate, now=moment), range(int(attempts)))
        granted = sum(each.is_granted for each in taken)
    print(granted, flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main(*sys.argv[1:])
