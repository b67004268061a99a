"""The documents name files that are there, and give no figure that nothing measures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import paper
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

PLACEHOLDER = re.compile(r"NAME|NOUN|…")
SUFFIXES = (".conf", ".json", ".md", ".py", ".service", ".svg", ".toml", ".txt", ".yaml")
FOLDERS = ("benchmarks/", "deploy/", "docs/", "migrations/", "service/", "tests/")
SUPERSEDED = re.compile(r"^\*?\*?Status:.*superseded", re.IGNORECASE | re.MULTILINE)
MEASURED = re.compile(r"\d+(\.\d+)? times (as|so)\b")
"""A comparison such as `2.2 times as long`: it is true for one run on one machine."""


def documents() -> list[Path]:
    """Return what is true today: neither former changes nor decisions that were superseded."""
    adrs = (ROOT / "docs/adr").glob("*.md")
    valid = [adr for adr in adrs if not SUPERSEDED.search(adr.read_text(encoding="utf-8"))]
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *valid]
    return sorted(path for path in found if path.name != "CHANGELOG.md")


def paths(text: str) -> list[str]:
    """Return the paths of this project that stand in backticks."""
    code = [word.partition(": ")[0] for word in re.findall(r"`([^`\n]+)`", text)]
    words = [word.rstrip("/") for word in code if re.fullmatch(r"[\w./…*-]+", word)]
    return [
        word
        for word in words
        if not word.startswith("/") and (word.endswith(SUFFIXES) or word.startswith(FOLDERS))
    ]


def is_there(path: str) -> bool:
    """Tell whether something is at a path of the project, or of its package."""
    pattern = PLACEHOLDER.sub("*", path)
    return any(any(top.glob(pattern)) for top in (ROOT, ROOT / "service"))


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_in_backticks_is_there(document: Path) -> None:
    named = paths(document.read_text(encoding="utf-8"))
    assert [path for path in named if not is_there(path)] == []


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("see `service/app.py`", "service/app.py"),
        ("see `service/core/claims.py: rescue`", "service/core/claims.py"),
        ("in `docs/adr/`", "docs/adr"),
        ("`channels/base.py`", "channels/base.py"),
        ("`gunicorn.conf.py`", "gunicorn.conf.py"),
    ],
)
def test_a_path_is_recognised(written: str, path: str) -> None:
    assert paths(written) == [path]


@pytest.mark.parametrize(
    "written", ["`/etc/crier.env`", "`GET /broadcast`", "`a.b`", "service/x.py"]
)
def test_what_is_no_path_of_this_project_is_not(written: str) -> None:
    assert paths(written) == []


def test_what_is_missing_is_found_out() -> None:
    assert is_there("service/blueprints/NOUN.py")
    assert is_there("core/vault.py")
    assert not is_there("service/core/nothing.py")
    assert not is_there("deploy/NAME.py")


def test_the_numbers_of_the_readme_are_those_that_were_measured() -> None:
    result = json.loads((ROOT / "docs/benchmarks.json").read_text(encoding="utf-8"))
    assert paper.with_numbers(README, result) == README


def test_a_changed_number_is_found_out() -> None:
    result = json.loads((ROOT / "docs/benchmarks.json").read_text(encoding="utf-8"))
    changed = re.sub(r"(?<=\| Postgres )[0-9,]+", "1", README)
    assert changed != README
    assert paper.with_numbers(changed, result) == README


def test_comparisons_stand_among_the_numbers_that_are_measured() -> None:
    before, _, rest = README.partition(paper.START)
    assert MEASURED.findall(before + rest.partition(paper.END)[2]) == []
    assert MEASURED.search(rest)
