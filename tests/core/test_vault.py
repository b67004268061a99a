"""Secrets at rest."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from service.config import SettingError, Settings
from service.core import vault
from service.core.vault import SealedError, Vault
from tests.waiting import LIMIT

SECRETS = {"access_token": "EAAG-secret", "pin": 1234}


def make_key(folder: Path) -> bytes:
    Vault(Settings(data_dir=folder)).encrypt(SECRETS)
    return (folder / "secret.key").read_bytes()


def test_secrets_come_back_and_cannot_be_read_at_rest(tmp_path: Path) -> None:
    stored = Vault(Settings(data_dir=tmp_path)).encrypt(SECRETS)
    assert "EAAG" not in stored
    assert Vault(Settings(data_dir=tmp_path)).decrypt(stored) == SECRETS


def test_the_names_of_secrets_can_be_told_without_the_key(tmp_path: Path) -> None:
    stored = Vault(Settings(data_dir=tmp_path)).encrypt(SECRETS)
    assert vault.names(stored) == ["access_token", "pin"]


def test_no_secrets_are_an_empty_text(tmp_path: Path) -> None:
    nothing = Vault(Settings(data_dir=tmp_path)).encrypt({})
    assert (nothing, vault.names(nothing)) == ("", [])
    assert Vault(Settings(data_dir=tmp_path)).decrypt("") == {}


def test_no_key_is_made_before_there_is_a_secret(tmp_path: Path) -> None:
    Vault(Settings(data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_for_its_owner_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    make_key(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_together_make_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        keys = pool.map(make_key, [tmp_path] * 8)
        pool.close()
        pool.join()
    assert len(set(keys)) == 1


def test_an_older_key_still_opens_and_the_first_one_encrypts(tmp_path: Path) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    stored = Vault(Settings(data_dir=tmp_path, secret_key=old)).encrypt(SECRETS)
    both = Vault(Settings(data_dir=tmp_path, secret_key=f"{new}, {old}"))
    assert both.decrypt(stored) == SECRETS
    only_new = Vault(Settings(data_dir=tmp_path, secret_key=new))
    assert only_new.decrypt(both.encrypt(SECRETS)) == SECRETS


def test_without_the_key_there_is_a_sentence(tmp_path: Path) -> None:
    stored = Vault(Settings(secret_key=Fernet.generate_key().decode())).encrypt(SECRETS)
    with pytest.raises(
        SealedError, match="The key that encrypted this session's credentials is missing"
    ):
        Vault(Settings(data_dir=tmp_path)).decrypt(stored)


def test_a_setting_that_is_no_key_is_refused_at_once() -> None:
    with pytest.raises(SettingError, match="SECRET_KEY"):
        Vault(Settings(secret_key="password"))


def test_a_key_that_takes_long_to_read_keeps_no_other_vault_waiting(tmp_path: Path) -> None:
    for folder in ("slow", "quick"):
        (tmp_path / folder).mkdir()
    os.mkfifo(slow := tmp_path / "slow" / "secret.key")
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(make_vault, slow.parent)
        with slow.open("wb") as end:  # opens when somebody reads
            try:
                assert threads.submit(make_key, tmp_path / "quick").result(timeout=LIMIT)
            finally:
                end.write(Fernet.generate_key())
        assert waiting.result(timeout=LIMIT).marks


def make_vault(folder: Path) -> Vault:
    return Vault(Settings(data_dir=folder))
