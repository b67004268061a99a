"""The turn that fetches the files that people sent with replies.

It has its own loop, so that a provider's slow files delay no reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import structlog

from service.channels.base import FetchesFiles, InboundFile
from service.channels.connections import SLOWEST_UPLOAD
from service.channels.conversations import Talk
from service.channels.errors import PermanentError, SendError
from service.channels.steps import Sink
from service.core import attachments, inbound_files
from service.core.accounts import Accounts
from service.core.attachments import StoredFile
from service.core.deliveries.transitions import storable
from service.core.inbound_files import DueFile, FileFailure
from service.core.storage import Incoming, Storage
from service.core.vault import SealedError
from service.database import Database, milliseconds, now_ms
from service.dispatch.upkeep.errands import Errands
from service.errors import ServiceError

log = structlog.get_logger(__name__)

_UNDER_WAY: Final = 32
_OF_SESSION: Final = 2
_OF_CLIENT: Final = 4
"""Files that a process fetches at the same time: in all, of one session, and of one client."""


class _Errand(NamedTuple):
    """A file that is being fetched, and where to."""

    due: DueFile
    file: InboundFile
    incoming: Incoming


class InboundFiles:
    """Fetches due files; `clock` returns Unix milliseconds."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        storage: Storage,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._storage = storage
        self._clock = clock
        self._errands = Errands(lambda: accounts.channels.context, _UNDER_WAY)
        self._most = accounts.settings.max_attachment_bytes

    @property
    def _lease(self) -> int:
        """Return the milliseconds that fetching and storing a file can take, twice."""
        context = self._accounts.channels.context
        requests = 2 * (context.connect_timeout + context.send_timeout)
        return milliseconds(2 * (requests + self._most / SLOWEST_UPLOAD))

    def turn(self) -> float:
        """Fetch due files and keep those that arrived; return the seconds until the next turn."""
        for due in self._claim():
            self._begin(due)
        if not self._errands.counts:
            return self._accounts.settings.poll_interval
        for ended in self._errands.turn():
            self._settle(ended)
        return 0.0

    def close(self) -> None:
        """Abort the fetches under way; the files are fetched again after their lease."""
        for errand in self._errands.close():
            errand.incoming.close()

    def _claim(self) -> list[DueFile]:
        """Take due files for which there is room.

        If none are due, this only reads.
        """
        room, now = self._errands.room, self._clock()
        if room <= 0:
            return []
        with self._database.reading() as db:
            if not inbound_files.is_due(db, now=now):
                return []
        with self._database.writing() as db:
            return inbound_files.claim(
                db, limit=min(room, _OF_SESSION), full=self._full(), lease=self._lease, now=now
            )

    def _full(self) -> list[str]:
        """Return the sessions and the clients that have their share under way."""
        sessions = [errand.due.session for errand in self._errands.tokens]
        shares = ((_OF_SESSION, "id"), (_OF_CLIENT, "client_id"))
        return [
            name
            for most, key in shares
            for name, count in Counter(getattr(each, key) for each in sessions).items()
            if count >= most
        ]

    def _begin(self, due: DueFile) -> None:
        incoming = None
        try:
            driver = cast("FetchesFiles", self._accounts.open(due.session))
            incoming = self._storage.receive()
            file = InboundFile(due.said, Sink(incoming.write, self._most))
            self._errands.begin(due.session.id, _Errand(due, file, incoming), driver.fetch(file))
        except (SendError, SealedError, OSError) as error:
            if incoming:
                incoming.close()
            self._fail(due, error)

    def _settle(self, ended: Talk) -> None:
        due, file, incoming = cast("_Errand", ended.token)
        with incoming:
            if ended.error is not None:
                self._fail(due, ended.error)
                return
            try:
                stored = attachments.store(self._storage, incoming, file.name)
                self._keep(due, stored)
            except (ServiceError, OSError) as error:
                self._fail(due, error)

    def _keep(self, due: DueFile, stored: StoredFile) -> None:
        is_kept = False
        try:
            with self._database.writing() as db:
                is_needed = inbound_files.keep(db, due, stored, now=self._clock())
            is_kept = is_needed
        finally:
            if not is_kept:
                self._storage.remove(stored.file)

    def _fail(self, due: DueFile, error: Exception) -> None:
        problem = FileFailure(storable(_reason(error)), _is_final(error))
        with self._database.writing() as db:
            inbound_files.fail(db, due, problem, now=self._clock())


def _is_final(error: Exception) -> bool:
    """Return whether another attempt would fail, too."""
    if isinstance(error, ServiceError):
        return error.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, PermanentError)


def _reason(error: Exception) -> str:
    """Say in a sentence why a file was not kept."""
    match error:
        case SendError():
            return error.reason
        case ServiceError():
            return " ".join(map(str, error.errors.get("file", [error.message])))
        case OSError():
            return f"The file cannot be written ({error.strerror})."
        case _:
            log.error("a file cannot be fetched", exc_info=error)
            return f"Crier had an internal error ({type(error).__name__})."
