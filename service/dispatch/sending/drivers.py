"""The open drivers of a process: one for each session that sends."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from service.channels.base import Driver
from service.channels.errors import BlockedError
from service.core.accounts import Accounts
from service.models import Session

_KEPT: Final = 512
"""Drivers that stay open while nothing is sent through them."""


class UndecryptableSessionError(Exception):
    """Crier cannot decrypt this session's credentials."""


class Drivers:
    """The drivers of sessions, opened on first use and after a session changes.

    The least recently used ones are dropped. A dropped driver that a delivery still uses remains
    the driver of its session, so that its memory and locks are shared.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._recent: OrderedDict[str, Driver] = OrderedDict()
        self._open: WeakValueDictionary[tuple[str, int], Driver] = WeakValueDictionary()

    def get(self, session: Session) -> Driver:
        """Return the only driver of a session as it is now; raises UndecryptableSessionError."""
        key = (session.id, session.version)
        driver = self._open.get(key)
        if driver is None:
            driver = self._open[key] = self._opened(session)
        self._recent[session.id] = driver
        self._recent.move_to_end(session.id)
        if len(self._recent) > _KEPT:
            self._recent.popitem(last=False)
        return driver

    def _opened(self, session: Session) -> Driver:
        try:
            return self._accounts.open(session)
        except BlockedError as error:
            raise UndecryptableSessionError(error.reason) from error
        except Exception as error:
            what = f"This session cannot be opened ({type(error).__name__}: {error})."
            raise UndecryptableSessionError(what) from error
