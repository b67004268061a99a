"""The workspace: folder, disk, database and settings of one run, gone when it is over."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.provider import noting
from benchmarks.stub import MessageLog
from benchmarks.workspace import clean_environment
from chaos import commands
from chaos.clock import Clock
from chaos.databases import Base, Postgres, Sqlite
from chaos.disk import MIB, Disk, NoDiskError
from chaos.plan import ON_SERVER, Plan
from chaos.upgrade import Upgrade
from tests.serving import free_port

_DISK = 512 * MIB
_DISK_PER_DELIVERY = 2048


@dataclass(slots=True)
class Workspace:
    """Where a run takes place; `skipped` says what cannot be done here."""

    folder: Path
    data: Path
    disk: Disk | None
    database: Base
    clock: Clock
    provider_url: str
    provider: MessageLog
    environment: dict[str, str]
    skipped: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the URL of the service's database."""
        return self.database.url or f"sqlite:///{self.data / 'crier.db'}"

    @property
    def upgrade(self) -> Upgrade:
        """Return the way to the next version of the tables."""
        return Upgrade(self.data, self.database.url)

    @property
    def port(self) -> int:
        """Return the port that the service answers at, on this machine only."""
        return int(self.environment["PORT"])

    @property
    def sandbox(self) -> Path:
        """Return the file that holds what the sandbox received."""
        return self.data / "sandbox.db"

    def welcome(self) -> str:
        """Make the tables, a client and a token that may do everything; return the token."""
        token = commands.token(self.environment, "welcome")
        if self.environment["DISPATCH"] == "procrastinate":
            commands.flask(self.environment, "engine", "setup")
        return token


@contextmanager
def prepare(plan: Plan) -> Iterator[Workspace]:
    """Make everything that a run needs, and remove it at the end of the block."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        disk, skipped = _disk(plan, folder)
        if disk is not None:
            stack.callback(disk.close)
        database = _database(plan, disk)
        stack.callback(database.close)
        data = (disk.folder if disk else folder) / "data"
        data.mkdir()
        if plan.database == "sqlite" and (left := ON_SERVER & set(plan.faults)):
            skipped.append(f"{', '.join(sorted(left))} left out: there is no server to stop")
        clock = Clock(folder / "clock")
        stack.callback(clock.close)
        environment = _environment(plan, data, database.url)
        if "clock" in plan.faults:
            environment |= clock.environment
        url, message_log = stack.enter_context(noting(folder))
        yield Workspace(folder, data, disk, database, clock, url, message_log, environment, skipped)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that Postgres, which runs under another account, may enter."""
    with tempfile.TemporaryDirectory(prefix="crier-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def _disk(plan: Plan, folder: Path) -> tuple[Disk | None, list[str]]:
    if "disk" not in plan.faults:
        return None, []
    try:
        return Disk(folder / "disk", _DISK + plan.deliveries * _DISK_PER_DELIVERY), []
    except NoDiskError as error:
        return None, [f"disk is left out: {error.__doc__}"]


def _database(plan: Plan, disk: Disk | None) -> Base:
    if plan.database == "sqlite":
        return Sqlite()
    return Postgres(disk.folder if disk else None)


def _environment(plan: Plan, data: Path, url: str) -> dict[str, str]:
    """Return the service's settings: short leases and small batches, so that more can happen."""
    settings: Mapping[str, object] = {
        "DATA_DIR": data,
        "DATABASE_URL": url,
        "DISPATCH": plan.engine,
        "PORT": free_port(),
        "LIMIT_BROADCASTS": 100_000,
        "PRIVATE_ADDRESSES": "true",
        "WEB_CONCURRENCY": plan.workers,
        "LEASE": plan.lease,
        "SWEEP_INTERVAL": plan.sweep_interval,
        "GRACE": plan.grace,
        "GRACEFUL_TIMEOUT": round(2 * plan.grace),
        "IN_FLIGHT": plan.in_flight,
        "FLUSH_BATCH": plan.flush_batch,
        "FANOUT_CHUNK": 100,
        "RETRY_BASE": 0.5,
        "RETRY_CAP": 5,
    }
    return clean_environment() | {name: str(value) for name, value in settings.items()}
