"""Tests for what may be skipped in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CONFIGURATION = """
[pytest]
skips_in_ci =
    no such program
"""

ONE_TEST = """
import pytest

@pytest.mark.skipif(True, reason={reason!r})
def test_something():
    pass
"""

WHOLE_FILE = """
import pytest

pytest.skip({reason!r}, allow_module_level=True)
"""

EXPECTED_FAILURE = """
import pytest

@pytest.mark.xfail(reason={reason!r})
def test_something():
    raise ValueError
"""


def run(folder: Path, content: str, reason: str, ci: str) -> subprocess.CompletedProcess[str]:
    """Test a file with the rule."""
    (folder / "pytest.ini").write_text(CONFIGURATION)
    (folder / "test_file.py").write_text(content.format(reason=reason))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider"]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": ci}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("content", [ONE_TEST, WHOLE_FILE], ids=["test", "file"])
def test_a_skip_fails_in_ci_unless_its_reason_is_listed(tmp_path: Path, content: str) -> None:
    done = run(tmp_path, content, "no such luck", ci="true")
    assert done.returncode != 0
    assert "does not list the reason: no such luck" in done.stdout
    assert "1 skipped" in run(tmp_path, content, "no such program", ci="true").stdout
    assert "1 skipped" in run(tmp_path, content, "no such luck", ci="").stdout


def test_a_failure_that_is_expected_is_no_skip(tmp_path: Path) -> None:
    done = run(tmp_path, EXPECTED_FAILURE, "no such luck", ci="true")
    assert (done.returncode, "1 xfailed" in done.stdout) == (0, True)
