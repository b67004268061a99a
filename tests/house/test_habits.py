"""What is checked before a commit is what CI checks."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
}
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
