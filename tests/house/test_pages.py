"""The pages of docs/ say what the code says: settings, channels, metrics, measured numbers."""

from __future__ import annotations

import json
import re
from dataclasses import Field, fields
from typing import Any

import pytest

from benchmarks import results
from service.channels.drivers.sandbox import MAGIC
from service.channels.registry import DRIVERS, EXTRAS
from service.config import Settings
from service.metrics import Meters
from tests.conftest import ROOT


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str, header: str) -> dict[str, list[str]]:
    """Return the rows of the table with this header, by the name in their first cell."""
    table = text.partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row[1:-1].split("|")] for row in table]
    return {cell[0].strip("`"): cell for cell in cells}


SETTINGS = rows(page("settings.md"), "| Setting | Default")
CHANNELS, OPERATING, NUMBERS = page("channels.md"), page("operating.md"), page("numbers.md")
RESULT = json.loads((ROOT / "docs/benchmarks.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_the_table_has_every_setting_with_its_meaning_and_default(setting: Field[Any]) -> None:
    name, default, meaning = SETTINGS[setting.name.upper()]
    assert name == f"`{setting.name.upper()}`"
    assert default.strip("`").lower() == f"{setting.default}".lower().removesuffix(".0")
    assert meaning == setting.metadata["help"]


def test_the_table_has_no_setting_that_is_gone() -> None:
    assert set(SETTINGS) == {setting.name.upper() for setting in fields(Settings)}


def test_the_page_on_channels_has_every_magic_recipient() -> None:
    told = rows(CHANNELS, "| recipient | what happens |")
    assert {number for number in told if re.fullmatch("[0-9]+", number)} == set(MAGIC)


def test_the_page_on_channels_has_every_channel_and_how_to_install_every_extra() -> None:
    told = rows(CHANNELS, "| channel | what it takes |")
    assert set(told) == set(DRIVERS)
    for name in EXTRAS:
        assert "an extra" in told[name][1]
        assert f"pip install --require-hashes -r requirements-{name}.txt" in CHANNELS


def test_the_page_on_operating_has_every_metric_of_a_process() -> None:
    metrics = list(Meters().collect())
    named = {f"{it.name}_total" if it.type == "counter" else it.name for it in metrics}
    assert named
    assert {name for name in named if f"`{name}`" not in OPERATING} == set()


def test_the_numbers_are_those_that_were_measured() -> None:
    assert results.with_numbers(NUMBERS, RESULT) == NUMBERS


def test_a_changed_number_is_found_out() -> None:
    changed = re.sub(r"(?<=\| Postgres )[0-9,]+", "1", NUMBERS)
    assert changed != NUMBERS
    assert results.with_numbers(changed, RESULT) == NUMBERS
