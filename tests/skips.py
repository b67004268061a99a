"""A pytest plugin: where CI=true, a test is skipped only for a reason that pyproject.toml lists."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

_LISTED = "skips_in_ci"
_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let pyproject.toml hold the list."""
    parser.addini(_LISTED, "Reasons for which a test may be skipped in CI.", type="linelist")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skip of a test."""
    return _judge((yield), item.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skip of a whole file."""
    return _judge((yield), collector.config)


def _judge(report: _Report, config: pytest.Config) -> _Report:
    """Let a report of a skip that is not listed be one of a failure."""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = _reason(report)
        if reason not in config.getini(_LISTED):
            report.outcome = "failed"
            report.longrepr = f"Skipped in CI, and {_LISTED} does not list the reason: {reason}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    assert isinstance(report.longrepr, tuple)
    return report.longrepr[2].removeprefix("Skipped: ")
