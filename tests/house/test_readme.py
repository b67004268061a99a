"""The README says what is true: its table of settings is the settings there are."""

from __future__ import annotations

import re
from dataclasses import Field, fields
from typing import Any

import pytest

from service.channels.drivers.sandbox import MAGIC
from service.channels.registry import DRIVERS, EXTRAS
from service.config import Settings
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(header: str) -> dict[str, list[str]]:
    """Return the rows of the table with this header, by the name in their first cell."""
    table = README.partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row[1:-1].split("|")] for row in table]
    return {cell[0].strip("`"): cell for cell in cells}


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_is_in_the_readme_with_its_meaning_and_default(setting: Field[Any]) -> None:
    name, default, meaning = rows("| Setting | Default")[setting.name.upper()]
    assert name == f"`{setting.name.upper()}`"
    assert default.strip("`").lower() == f"{setting.default}".lower().removesuffix(".0")
    assert meaning == setting.metadata["help"]


def test_the_readme_has_no_setting_that_is_gone() -> None:
    known = {setting.name.upper() for setting in fields(Settings)}
    assert set(rows("| Setting | Default")) == known


def test_every_magic_recipient_is_in_the_readme() -> None:
    told = rows("| recipient | what happens |")
    assert {number for number in told if re.fullmatch("[0-9]+", number)} == set(MAGIC)


def test_every_channel_is_in_the_readme_and_every_extra_with_its_installation() -> None:
    told = rows("| channel | what it takes |")
    assert set(told) == set(DRIVERS)
    for name in EXTRAS:
        assert "an extra" in told[name][1]
        assert f"pip install --require-hashes -r requirements-{name}.txt" in README


def test_every_file_that_the_readme_points_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
