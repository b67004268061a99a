"""The service under measurement: its database, its one client, and its processes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from cryptography.fernet import Fernet
from sqlalchemy import insert, select, text

from benchmarks import usage
from benchmarks.message import FIRST_NUMBER, TEXT
from benchmarks.workspace import PYTHON, ROOT, Workspace, answers, until
from service import ids
from service.config import Settings
from service.core import broadcasts, clients, intake, sessions, signals, tokens
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.deliveries import chunks
from service.core.recipients import read as read_recipients
from service.core.vault import Vault
from service.database import Database, now_ms
from service.dispatch.sending.uploads import StoredMediaIds
from service.models import Broadcast, RecipientChunk
from tests.serving import free_port

DATABASES = ("Postgres", "SQLite")

APP_SECRET = "s"  # noqa: S105 - that of a stub
"""With which the provider of all sessions on the Cloud API signs its webhooks."""

_ACCOUNTS: dict[str, dict[str, str]] = {
    "whatsapp_cloud": {"phone_number_id": "1", "access_token": "t", "app_secret": APP_SECRET},
    "waha": {"session": "default"},
}


class Crier:
    """One installation: settings, a migrated database, a client."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.settings = Settings(
            data_dir=folder,
            database_url=database_url,
            secret_key=Fernet.generate_key().decode(),
            private_addresses=True,
            dispatch="off",
        )
        self.database = Database(self.settings)
        self._vault = Vault(self.settings)
        self._accounts = Accounts(
            self.settings, self._vault, partial(StoredMediaIds, self.database)
        )
        self._migrate()
        with self.database.writing() as db:
            self.client_id = clients.create(db, "bench").id
            _, self.token = tokens.create(db, self.client_id, "bench", ["admin"])
        self._numbers = count(1)

    @property
    def environment(self) -> dict[str, str]:
        """The settings as the processes read them."""
        return {
            "DATA_DIR": str(self.settings.data_dir),
            "DATABASE_URL": self.settings.database_url,
            "SECRET_KEY": self.settings.secret_key,
            "LOG_LEVEL": "WARNING",
            "PRIVATE_ADDRESSES": "true",
            "LIMIT_BROADCASTS": "100000",
        }

    @property
    def first_session(self) -> str:
        """The id of the default session."""
        query = text("SELECT id FROM sessions WHERE is_default")
        with self.database.reading() as db:
            return str(db.scalar(query))

    def session(
        self, provider_url: str, rate: float | None = None, channel: str = "whatsapp_cloud"
    ) -> str:
        """Make a session on a provider and return its id; the first is the default one."""
        fields = {
            "name": f"bench {next(self._numbers)}",
            "channel": channel,
            "settings": _ACCOUNTS[channel] | {"base_url": provider_url},
            "rate": rate,
        }
        channels, vault = self._accounts.channels, self._vault
        with self.database.writing() as db:
            return sessions.create(db, self.client_id, fields, channels=channels, vault=vault).id

    @contextmanager
    def as_another_client(self) -> Iterator[None]:
        """Let another client act within the block."""
        first = self.client_id
        with self.database.writing() as db:
            self.client_id = clients.create(db, f"bench {next(self._numbers)}").id
        yield
        self.client_id = first

    def flood(self, broadcasts: int, recipients: int, session_id: str) -> None:
        """Accept many equal broadcasts at once, whose rows the dispatcher makes."""
        order = self._order(recipients, session_id)
        with self.database.writing_much() as db:
            made = intake.accept(
                db, self.client_id, order, accounts=self._accounts, now=now_ms()
            ).broadcast.id
            new = [ids.new_broadcast() for _ in range(broadcasts - 1)]
            for table, name in ((Broadcast, "id"), (RecipientChunk, "broadcast_id")):
                columns = table.__table__.columns
                row = db.execute(select(*columns).where(columns[name] == made)).one()._asdict()
                db.execute(insert(table), [row | {name: each} for each in new])

    def send(self, recipients: int, session_id: str) -> str:
        """Accept a broadcast, whose rows the dispatcher makes; return its id."""
        order, now = self._order(recipients, session_id), now_ms()
        with self.database.writing() as db:
            made, _ = intake.accept(db, self.client_id, order, accounts=self._accounts, now=now)
            signals.announce(db, made)
            return made.id

    def accept(
        self, recipients: int, session_id: str = "", parts: int = 1, text: str = TEXT
    ) -> str:
        """Accept a broadcast with all its rows made, held until `resume`; return its id.

        A `text` with placeholders has each recipient's `first`, `last` and `city`.
        """
        order, now = self._order(recipients, session_id, parts, text), now_ms()
        with self.database.writing() as db:
            made, _ = intake.accept(db, self.client_id, order, accounts=self._accounts, now=now)
            broadcasts.pause(db, self.client_id, made.id, now=now)
        while self._fan_out(made.id):
            pass
        return made.id

    def _order(
        self, recipients: int, session_id: str, parts: int = 1, text: str = TEXT
    ) -> BroadcastRequest:
        to: list[Any] = list(map(str, range(FIRST_NUMBER, FIRST_NUMBER + recipients)))
        if "{{" in text:
            to = [{"to": each, "variables": _variables(each)} for each in to]
        message: dict[str, Any] = {"text": text}
        if parts > 1:
            message["location"] = {"lat": "6.556452", "lng": "3.277448"}
        return BroadcastRequest(session_id, read_recipients(to), message)

    def resume(self, broadcast_id: str) -> None:
        """Let a broadcast go."""
        with self.database.writing() as db:
            broadcasts.resume(db, self.client_id, broadcast_id, now=now_ms())

    def hold_all(self) -> None:
        """Pause everything that is being sent."""
        held = text("UPDATE broadcasts SET status = 'paused' WHERE status = 'sending'")
        with self.database.writing() as db:
            db.execute(held)

    def release_sessions(self) -> None:
        """Let all sessions send as fast as they can, from now on."""
        with self.database.writing() as db:
            db.execute(
                text("UPDATE sessions SET rate = NULL, paced_until = 0, version = version + 1")
            )

    def ended(self, broadcast_id: str) -> tuple[int, int]:
        """Return how many deliveries are recorded as sent, and how many ended otherwise."""
        query = text("SELECT sent, failed + uncertain FROM broadcasts WHERE id = :id")
        with self.database.reading() as db:
            sent, lost = db.execute(query, {"id": broadcast_id}).one()
        return sent, lost

    def sent(self) -> int:
        """Return how many deliveries of all broadcasts are recorded as sent."""
        with self.database.reading() as db:
            return db.scalar(text("SELECT sum(sent) FROM broadcasts")) or 0

    def arrived(self) -> int:
        """Return how many deliveries providers have, whatever is known of them since."""
        with self.database.reading() as db:
            return db.scalar(text("SELECT sum(sent + delivered + read) FROM broadcasts")) or 0

    def is_fanned_out(self, broadcast_id: str) -> bool:
        """Tell whether all rows of a broadcast exist."""
        query = text("SELECT count(*) FROM recipient_chunks WHERE broadcast_id = :id")
        with self.database.reading() as db:
            return not db.scalar(query, {"id": broadcast_id})

    @contextmanager
    def dispatching(
        self, workspace: Workspace, processes: int = 1, **settings: str
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run dispatchers as processes of their own, and wait until they are there."""
        command_line = [PYTHON, "-m", "flask", "--app", "wsgi", "dispatch"]
        environment = self.environment | settings
        with ExitStack() as stack:
            started = [
                stack.enter_context(workspace.process("dispatch", command_line, environment))
                for _ in range(processes)
            ]
            until(lambda: self._dispatchers() == processes, "the dispatchers")
            yield started

    @contextmanager
    def serving(self, workspace: Workspace, **settings: str) -> Iterator[tuple[int, int]]:
        """Run gunicorn with one worker; give the port and the worker's process id."""
        port = free_port()
        environment = self.environment | {"PORT": str(port)} | settings
        with workspace.process(
            "gunicorn", [PYTHON, "-m", "gunicorn", "wsgi:app"], environment
        ) as it:
            until(lambda: answers(port) and bool(usage.children(it.pid)), "gunicorn")
            yield port, usage.children(it.pid)[0]

    def _migrate(self) -> None:
        configuration = Config(ROOT / "alembic.ini")
        with self.database.writer.connect() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")

    def _fan_out(self, broadcast_id: str) -> int:
        with self.database.writing() as db:
            return chunks.fan_out(db, broadcast_id, now=now_ms())

    def _dispatchers(self) -> int:
        with self.database.reading() as db:
            return db.scalar(text("SELECT count(*) FROM dispatchers")) or 0


@contextmanager
def installed(
    workspace: Workspace, kind: str, provider_url: str, rate: float | None = None
) -> Iterator[Crier]:
    """Give a new installation on a database of its own, of either kind."""
    folder = workspace.new_folder()
    with ExitStack() as stack:
        on_server = kind == "Postgres"
        url = stack.enter_context(workspace.new_database()) if on_server else ""
        crier = Crier(folder, url)
        stack.callback(crier.database.dispose)
        crier.session(provider_url, rate)
        yield crier


def _variables(number: str) -> dict[str, str]:
    return {"first": f"Ada {number[-4:]}", "last": f"Obi {number[-6:-4]}", "city": "Lagos"}
