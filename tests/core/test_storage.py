"""Bytes on disk: there whole under their name, or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from service.config import Settings
from service.core.storage import ABANDONED_AFTER, Storage
from service.errors import TooLargeError


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(Settings(data_dir=tmp_path, max_attachment_bytes=10))


def files(storage: Storage) -> list[str]:
    return sorted(path.name for path in storage.folder.rglob("*") if path.is_file())


def none(_names: Collection[str]) -> set[str]:
    return set()


def test_a_file_that_is_kept_has_its_name_and_all_its_bytes(storage: Storage) -> None:
    incoming = storage.receive()
    incoming.write(b"12345")
    incoming.write(b"67890")
    incoming.keep(storage.path("A.txt"))
    incoming.close()
    assert files(storage) == ["A.txt"]
    assert storage.path("A.txt").read_bytes() == b"1234567890"


def test_a_file_that_is_not_kept_leaves_nothing(storage: Storage) -> None:
    incoming = storage.receive()
    incoming.write(b"12345")
    incoming.close()
    incoming.close()
    assert files(storage) == []


def test_one_byte_too_many_is_refused(storage: Storage) -> None:
    incoming = storage.receive()
    incoming.write(b"1234567890")
    with pytest.raises(TooLargeError, match="10 bytes"):
        incoming.write(b"1")
    incoming.close()


def test_only_the_owner_may_read_a_file(storage: Storage) -> None:
    incoming = storage.receive()
    incoming.write(b"1")
    incoming.keep(storage.path("A.txt"))
    incoming.close()
    assert storage.path("A.txt").stat().st_mode & 0o777 == 0o600


def test_removing_what_is_not_there_is_fine(storage: Storage) -> None:
    storage.remove("A.txt")


def test_a_sweep_of_an_empty_storage_does_nothing(storage: Storage) -> None:
    assert storage.sweep(none, now=0.0) == 0


def test_a_sweep_removes_what_a_crash_left_and_nothing_else(storage: Storage) -> None:
    broken_off = storage.receive()
    broken_off.write(b"1")
    broken_off.flush()
    for name in ("known.txt", "orphan.txt", "fresh.txt"):
        incoming = storage.receive()
        incoming.write(b"1")
        incoming.keep(storage.path(name))
        incoming.close()
    now = storage.path("fresh.txt").stat().st_mtime
    long_ago = now - ABANDONED_AFTER - 1
    for path in storage.folder.rglob("*"):
        if path.is_file() and path.name != "fresh.txt":
            os.utime(path, (long_ago, long_ago))
    assert storage.sweep(lambda names: {"known.txt"} & set(names), now=now) == 2
    assert files(storage) == ["fresh.txt", "known.txt"]
    broken_off.close()
