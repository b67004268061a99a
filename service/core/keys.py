"""Secret keys: which key encrypted which secrets, and which this process cannot decrypt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, or_, select, update
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm.attributes import flag_modified

from service.core import vault as vaults
from service.core.vault import SealedError, Vault
from service.errors import InvalidError, ServiceError
from service.models import Callback, Session

LOST: Final = "lost"
"""Replaces a key's mark when the operator has given the key up."""

_NAMED = 5
"""The most sessions that a message names."""

_BATCH = 100
"""Sessions to re-encrypt per transaction."""


Sealed = type[Session] | type[Callback]

SEALED: Final[tuple[Sealed, ...]] = (Session, Callback)
"""The tables that hold secrets."""

_Secrets = Row[str, str, str, str | None]


class WrongKeyError(ServiceError):
    """This process lacks the SECRET_KEY of the stored secrets, so it cannot store new ones."""

    status = 503


class UndecryptableSessions(NamedTuple):
    """The sessions, by id and name, whose secrets this process cannot decrypt.

    `is_foreign`: it cannot decrypt any secret in the database.
    """

    sessions: Sequence[tuple[str, str]]
    is_foreign: bool

    def sentence(self, *, with_names: bool = True) -> str:
        """Say what is wrong and what to do. `with_names=False` hides names from the public."""
        first = [f"{name} ({id_})" if with_names else id_ for id_, name in self.sessions[:_NAMED]]
        if len(self.sessions) > _NAMED:
            first.append(f"{len(self.sessions) - _NAMED} more")
        consequence = " Until then this process sends nothing." if self.is_foreign else ""
        return (
            f"No key of this process opens the secrets of these sessions: {', '.join(first)}."
            " Add the key that encrypted them to SECRET_KEY (a key made by the service is in"
            " secret.key in the DATA_DIR of the process that made it) and restart, or run"
            f" `flask secrets forget` if that key is lost.{consequence}"
        )


class RotationStep(NamedTuple):
    """How many secrets of a batch were re-encrypted. Continue after the id `last`."""

    renewed: int
    last: str | None


def unopened(db: Db, vault: Vault) -> UndecryptableSessions | None:
    """Return the sessions of all clients that this process cannot decrypt, None if none."""
    strange = _strange(db, vault, Session.sealed_by != LOST)
    closed = [(row.id, row.name) for row in strange if not _opens(vault, row)]
    if not closed:
        return None
    opens_any = len(closed) < len(strange) or _has_own(db, vault)
    return UndecryptableSessions(closed, is_foreign=not opens_any)


def can_open(session: Session, vault: Vault) -> bool:
    """Return whether this process can decrypt a session's secrets."""
    return not session.secrets or session.sealed_by in vault.marks or _opens(vault, session)


def seal(db: Db, row: Session | Callback, secrets: Mapping[str, Any], vault: Vault) -> None:
    """Encrypt the secrets of a session or a callback.

    Raises WrongKeyError if this process has none of the keys in use: other processes could not
    decrypt the result.
    """
    if secrets and (closed := unopened(db, vault)) and closed.is_foreign:
        raise WrongKeyError
    row.secrets = vault.encrypt(secrets)
    row.sealed_by = vault.marks[0] if secrets else None
    # Always write it: a rotation may have changed it since the row was read.
    flag_modified(row, "sealed_by")


def kept(session: Session, given: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """Return a session's secrets, replaced by those in `given`.

    Raises InvalidError if a kept secret cannot be decrypted.
    """
    try:
        return vault.decrypt(session.secrets)
    except SealedError as error:
        reason = "Send this secret again: the stored one cannot be decrypted, its key is missing."
        missing = [name for name in vaults.names(session.secrets) if name not in given]
        if missing:
            raise InvalidError(errors={f"settings.{name}": [reason] for name in missing}) from error
        return {}


def renew(db: Db, vault: Vault, *, after: str, table: Sealed = Session) -> RotationStep:
    """Re-encrypt the secrets of the next rows after an id with the first key.

    Rows that cannot be decrypted, or that change in the meantime, stay as they are.
    """
    query = select(table.id, table.secrets).where(_sealed_by_others(vault.marks[:1], table))
    page = query.where(table.id > after).order_by(table.id).limit(_BATCH)
    batch = db.execute(page).all()
    renewed = sum(_renew(db, vault, table, row.id, row.secrets) for row in batch)
    return RotationStep(renewed, batch[-1].id if batch else None)


def adopt(db: Db, vault: Vault) -> None:
    """Add key marks to secrets that an older version encrypted."""
    for row in _strange(db, vault, Session.sealed_by.is_(None)):
        if mark := vault.opener(row.secrets):
            _mark(db, [row.id], mark)


def forget(db: Db, vault: Vault) -> Sequence[tuple[str, str]]:
    """Give up missing keys; return the sessions that now need new secrets."""
    closed = unopened(db, vault)
    lost = closed.sessions if closed else ()
    _mark(db, [id_ for id_, _ in lost], LOST)
    return lost


def _strange(db: Db, vault: Vault, condition: ColumnElement[bool]) -> Sequence[_Secrets]:
    """Return the sessions that have no mark, or the mark of another process's key."""
    columns = (Session.id, Session.name, Session.secrets, Session.sealed_by)
    wanted = select(*columns).where(_sealed_by_others(vault.marks))
    unmarked = Session.sealed_by.is_(None)
    return db.execute(wanted.where(or_(condition, unmarked)).order_by(Session.id)).all()


def _has_own(db: Db, vault: Vault) -> bool:
    own = select(Session.id).where(Session.secrets != "", Session.sealed_by.in_(vault.marks))
    return db.execute(own.limit(1)).first() is not None


def _sealed_by_others(marks: Sequence[str], table: Sealed = Session) -> ColumnElement[bool]:
    other = or_(table.sealed_by.is_(None), table.sealed_by.not_in(marks))
    return (table.secrets != "") & other


def _opens(vault: Vault, row: Session | _Secrets) -> bool:
    """Return whether this process can decrypt unmarked secrets."""
    return row.sealed_by is None and vault.opener(row.secrets) is not None


def _renew(db: Db, vault: Vault, table: Sealed, row_id: str, stored: str) -> bool:
    try:
        secrets = vault.encrypt(vault.decrypt(stored))
    except SealedError:
        return False
    same = update(table).where(table.id == row_id, table.secrets == stored)
    values = {"secrets": secrets, "sealed_by": vault.marks[0], "updated_at": table.updated_at}
    db.execute(same.values(**values))
    return True


def _mark(db: Db, session_ids: Iterable[str], mark: str) -> None:
    for session_id in session_ids:
        marked = update(Session).where(Session.id == session_id)
        db.execute(marked.values(sealed_by=mark, updated_at=Session.updated_at))
