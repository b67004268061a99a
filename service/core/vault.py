"""The vault: what encrypts the secrets of sessions at rest.

The keys are `SECRET_KEY`, or one that is made once in `DATA_DIR/secret.key`. Each secret is
encrypted by itself, so that it can be told which ones are set without opening any.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from service.config import SettingError, Settings
from service.errors import ServiceError

log = structlog.get_logger(__name__)


class SealedError(ServiceError):
    """The credentials of this session were encrypted with a key that is not here any more."""

    status = 503


class _Ring(NamedTuple):
    """The keys of this process, the encrypting one first."""

    keys: tuple[Fernet, ...]
    marks: tuple[str, ...]


class Vault:
    """Encrypts with the first key and decrypts with any of them (Fernet: AES-128 and HMAC)."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.secret_key
        self._file = settings.data_dir.resolve() / "secret.key"
        if self._given or self._file.exists():
            _ = self._ring

    @property
    def marks(self) -> tuple[str, ...]:
        """Return a mark of each key, the encrypting one's first; none before a key was made.

        A mark is stored beside what its key encrypts. It does not give the key away.
        """
        return self._ring.marks if self._given or self._file.exists() else ()

    def encrypt(self, values: Mapping[str, Any]) -> str:
        """Return secrets, values of JSON by name, in the form in which they are stored."""
        sealed = {name: self._seal(value) for name, value in values.items()}
        return json.dumps(sealed) if sealed else ""

    def decrypt(self, stored: str) -> dict[str, Any]:
        """Return the secrets that `encrypt` has put away; raises SealedError without their key."""
        sealed = json.loads(stored) if stored else {}
        return {name: self._open(value) for name, value in sealed.items()}

    def opener(self, stored: str) -> str | None:
        """Return the mark of the key that opens stored secrets, None where none does."""
        sealed = next(iter(json.loads(stored).values()))
        for key, mark in zip(self._ring.keys, self.marks, strict=True) if self.marks else ():
            with suppress(InvalidToken):
                key.decrypt(sealed)
                return mark
        return None

    @cached_property
    def _ring(self) -> _Ring:
        given = [key.strip().encode() for key in self._given.split(",") if key.strip()]
        keys = given or [_key_in(self._file)]
        try:
            ring = tuple(map(Fernet, keys))
        except ValueError as error:
            where = "SECRET_KEY" if given else str(self._file)
            raise SettingError(f"{where} does not hold Fernet keys: {error}") from error
        return _Ring(ring, tuple(map(_mark, keys)))

    def _seal(self, value: Any) -> str:
        return self._ring.keys[0].encrypt(json.dumps(value).encode()).decode()

    def _open(self, sealed: str) -> Any:
        try:
            return json.loads(MultiFernet(self._ring.keys).decrypt(sealed))
        except InvalidToken as error:
            raise SealedError from error


def names(stored: str) -> list[str]:
    """Return the names of stored secrets, without opening them."""
    return sorted(json.loads(stored)) if stored else []


def _mark(key: bytes) -> str:
    return hmac.new(key, b"the mark of a key", hashlib.sha256).hexdigest()[:16]


def _key_in(path: Path) -> bytes:
    """Return the key that a file holds, and make the file first where there is none.

    The file appears under its name complete or not at all, and of several processes that make one
    at the same time all use the first.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            _write(draft, Fernet.generate_key())
            path.hardlink_to(draft)
            log.warning("a key was made: back it up with the database", file=str(path))
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_bytes().strip()


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, down to the disk."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
