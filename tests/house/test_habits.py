"""What is checked before a commit is what CI checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import VERSION
from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
}
RECORDS = sorted((ROOT / "docs/adr").glob("*.md"))
REASON = "\n\nA provider bans an account that goes on sending before the time it has named is over."


def test_each_check_of_ci_but_the_tests_runs_before_a_commit() -> None:
    [checks] = re.findall(r"^sure: (.+?) test ##", MAKEFILE, re.MULTILINE)
    entries = {hook["entry"] for hook in HOOKS.values() if hook["language"] == "system"}
    assert entries == {f"make {check}" for check in checks.split()}


@pytest.mark.parametrize(("length", "refused"), [(72, False), (73, True)])
def test_the_subject_of_a_commit_has_72_characters_at_most(length: int, *, refused: bool) -> None:
    message = "W" * length + REASON
    # As pre-commit compiles it with --multiline.
    found = re.search(HOOKS["subject"]["entry"], message, re.MULTILINE | re.DOTALL)
    assert (found is not None) == refused


def test_the_version_is_the_one_that_the_changelog_begins_with() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [(number, date), *_] = re.findall(r"^## \[(.+?)\] - (\S+)$", changelog, re.MULTILINE)
    assert (f"{number}.dev0" if date == "unreleased" else number) == VERSION


@pytest.mark.parametrize("record", RECORDS, ids=lambda it: it.stem)
def test_each_decision_says_whether_it_still_holds(record: Path) -> None:
    _title, _, status = record.read_text(encoding="utf-8").splitlines()[:3]
    assert re.match(r"\*\*Status:\*\* (accepted|superseded by \[ADR )", status)


def test_each_decision_has_a_number_of_its_own() -> None:
    titles = [record.read_text(encoding="utf-8").partition(". ")[0] for record in RECORDS]
    assert titles == [f"# {int(record.name[:4])}" for record in RECORDS]
    assert len(set(titles)) == len(titles)
