"""The settings, read from the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import Field, FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from service import config, dsn
from service.config import SettingError, Settings

SETTINGS = {setting.name: setting for setting in fields(Settings)}
NUMBERS = [name for name, setting in SETTINGS.items() if setting.type in {"int", "float"}]
SAMPLES = {
    "int": ("7", 7),
    "float": ("7.5", 7.5),
    "bool": ("true", True),
    "str": ("word", "word"),
    "Path": ("/srv/crier", Path("/srv/crier")),
}
PARTICULAR = {
    "database_url": ("sqlite:////srv/crier.db", "sqlite:////srv/crier.db"),
    "database_direct_url": ("postgresql://db/crier", "postgresql://db/crier"),
    "dispatch": ("off", "off"),
    "log_format": ("console", "console"),
    "log_level": ("DEBUG", "DEBUG"),
    "accel_prefix": ("/_attachments", "/_attachments"),
    "cors_origins": ("https://app.example", "https://app.example"),
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Have no variable of ours and no .env file, and leave none behind."""
    before = dict(os.environ)
    for name in SETTINGS:
        os.environ.pop(name.upper(), None)
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_without_any_variable_all_is_default() -> None:
    assert config.load() == Settings()


def test_a_folder_may_be_below_ones_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("DATA_DIR", "~/crier")
    assert config.load().data_dir == Path("/home/ada/crier")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_read_from_the_variable_of_its_name(name: str) -> None:
    setting: Field[Any] = SETTINGS[name]
    text, value = PARTICULAR.get(name, SAMPLES[str(setting.type)])
    os.environ[name.upper()] = text
    assert getattr(config.load(), name) == value


@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_variable_is_none(name: str) -> None:
    os.environ[name.upper()] = ""
    assert config.load() == Settings()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["many", "1e", "0x10", "1,5"])
def test_what_is_no_number_is_refused_by_name(name: str, text: str) -> None:
    os.environ[name.upper()] = text
    with pytest.raises(SettingError, match=name.upper()):
        config.load()


@pytest.mark.parametrize("name", [each for each in NUMBERS if each != "trusted_proxies"])
@pytest.mark.parametrize("text", ["0", "-1"])
def test_a_number_that_is_not_positive_is_refused_by_name(name: str, text: str) -> None:
    os.environ[name.upper()] = text
    with pytest.raises(SettingError, match=f"{name.upper()} must be more than 0"):
        config.load()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DISPATCH", "maybe"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "debug"),
        ("ACCEL_PREFIX", "attachments/"),
    ],
)
def test_a_word_that_is_none_of_those_allowed_is_refused_by_name(name: str, text: str) -> None:
    os.environ[name] = text
    with pytest.raises(SettingError, match=name):
        config.load()


def test_an_engine_that_needs_postgres_is_refused_without_it() -> None:
    os.environ["DISPATCH"] = "procrastinate"
    with pytest.raises(SettingError, match="DATABASE_URL"):
        config.load()
    os.environ["DATABASE_URL"] = "postgresql://db.internal/crier"
    assert config.load().dispatch == "procrastinate"


def test_a_file_in_the_working_folder_is_read_and_the_environment_has_the_last_word(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env").write_text("IN_FLIGHT=3\nCLAIM_BATCH=4\n")
    os.environ["CLAIM_BATCH"] = "5"
    settings = config.load()
    assert (settings.in_flight, settings.claim_batch) == (3, 5)


def test_everything_is_kept_under_one_folder_by_default(tmp_path: Path) -> None:
    settings = Settings(data_dir=Path("var"))
    assert dsn.sqlite_url(settings.database).database == str(tmp_path / "var" / "crier.db")
    assert settings.attachments_dir == tmp_path / "var" / "attachments"
    assert settings.sandbox_store == tmp_path / "var" / "sandbox.db"


def test_a_database_that_is_named_is_used() -> None:
    url = "postgresql://db.internal/crier"
    assert Settings(database_url=url).database == url


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().lease = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "postgresql://host:many/name"])
def test_a_database_that_is_none_of_ours_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingError, match=r"^DATABASE_URL must "):
        Settings(database_url=url)
    with pytest.raises(SettingError, match=r"^DATABASE_DIRECT_URL must "):
        Settings(database_direct_url=url)


def test_only_postgres_has_a_direct_url() -> None:
    with pytest.raises(SettingError, match="DATABASE_DIRECT_URL must look like postgresql://"):
        Settings(database_direct_url="sqlite:////srv/crier.db")


@pytest.mark.parametrize(("user", "named"), [(65_534, "nobody"), (54_321, "#54321")])
def test_root_is_refused_a_folder_of_somebody_else(
    user: int, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("service.config._owner", lambda _folder: user)
    with pytest.raises(SettingError, match=f"belongs to the user {named}.*`runuser -u {named} --`"):
        config.load()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    config.load()
