"""The vault: encrypts the secrets of sessions at rest.

The keys are in `SECRET_KEY`, or one is created in `DATA_DIR/secret.key`. Each secret is encrypted
separately, so that the names of stored secrets can be read without decrypting any.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from werkzeug.utils import cached_property

from service.config import SettingError, Settings
from service.errors import ServiceError

log = structlog.get_logger(__name__)


_MOST_KNOWN: Final = 1_000
"""Secrets that are remembered as they were decrypted, which takes 40 µs; by what is stored, so that
another secret is another entry."""


class SealedError(ServiceError):
    """The key that encrypted this session's credentials is missing."""

    status = 503


class _Ring(NamedTuple):
    """The keys of this process; the first one encrypts."""

    keys: tuple[Fernet, ...]
    marks: tuple[str, ...]


class Vault:
    """Encrypts with the first key and decrypts with any of them (Fernet: AES-128 and HMAC)."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.secret_key
        self._known = lru_cache(_MOST_KNOWN)(self._decrypted)
        self._file = settings.data_dir.resolve() / "secret.key"
        if self._given or self._file.exists():
            _ = self._ring

    @property
    def marks(self) -> tuple[str, ...]:
        """Return a mark for each key, the encrypting key's first; empty if there is no key yet.

        A mark is stored beside what its key encrypted. It does not reveal the key.
        """
        return self._ring.marks if self._given or self._file.exists() else ()

    def encrypt(self, values: Mapping[str, Any]) -> str:
        """Encrypt secrets (JSON values by name) for storage."""
        sealed = {name: self._seal(value) for name, value in values.items()}
        return json.dumps(sealed) if sealed else ""

    def decrypt(self, stored: str) -> dict[str, Any]:
        """Decrypt what `encrypt` returned; raises SealedError without the key."""
        sealed = json.loads(stored) if stored else {}
        return {name: self._open(value) for name, value in sealed.items()}

    def opener(self, stored: str) -> str | None:
        """Return the mark of the key that decrypts stored secrets, None if none does."""
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
            raise SettingError(f"{where} does not contain valid Fernet keys: {error}") from error
        return _Ring(ring, tuple(map(_mark, keys)))

    def _seal(self, value: Any) -> str:
        return self._ring.keys[0].encrypt(json.dumps(value).encode()).decode()

    def _open(self, sealed: str) -> Any:
        return json.loads(self._known(sealed))

    def _decrypted(self, sealed: str) -> bytes:
        try:
            return MultiFernet(self._ring.keys).decrypt(sealed)
        except InvalidToken as error:
            raise SealedError from error


def names(stored: str) -> list[str]:
    """Return the names of stored secrets, without decrypting them."""
    return sorted(json.loads(stored)) if stored else []


def _mark(key: bytes) -> str:
    return hmac.new(key, b"the mark of a key", hashlib.sha256).hexdigest()[:16]


def _key_in(path: Path) -> bytes:
    """Return the key in a file; create the file if it does not exist.

    The file appears complete or not at all. If several processes create one at the same time, all
    use the first.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            _write(draft, Fernet.generate_key())
            path.hardlink_to(draft)
            log.warning("created a secret key: back it up with the database", file=str(path))
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_bytes().strip()


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, and sync it to disk."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
