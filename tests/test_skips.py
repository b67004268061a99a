"""Tests for what may be skipped in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


FILES = {
    "test_one.py": ONE_TEST.format(reason="no such luck"),
    "test_whole.py": WHOLE_FILE.format(reason="no such luck"),
    "test_listed.py": ONE_TEST.format(reason="no such program"),
    "test_expected.py": EXPECTED_FAILURE.format(reason="no such luck"),
}


def run(folder: Path, ci: str) -> str:
    """Test the files in a folder with the rule; return the report."""
    options = ["-q", "-p", "tests.skips", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "--continue-on-collection-errors"]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": ci}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    ).stdout


def test_a_skip_fails_in_ci_unless_its_reason_is_listed(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(CONFIGURATION)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    report = run(tmp_path, ci="true")
    assert report.count("does not list the reason: no such luck") >= 2
    assert "1 skipped, 1 xfailed, 2 errors" in report
    assert "3 skipped, 1 xfailed" in run(tmp_path, ci="")
