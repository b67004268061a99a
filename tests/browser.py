"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.node import FOLDER
from tests.waiting import LIMIT

PATIENCE = 3_000 * LIMIT
"""Milliseconds for what a page is to show; Playwright itself expects it in five seconds."""

CHROMIUM = shutil.which("chromium")
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="needs Node and the packages of tests/axios (npm ci)"
)

DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 800}
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser until the end of the block."""
    assert CHROMIUM is not None
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=options, timeout=PATIENCE
        )
        try:
            yield browser
        finally:
            browser.close()


@cache
def _axe() -> str:
    return Path(AXE).read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page, by rule and element."""
    page.evaluate(_axe())
    found: dict[str, Any] = page.evaluate(
        "rules => axe.run({runOnly: rules, resultTypes: ['violations']})", _RULES
    )
    return [
        f"{violation['id']}: {node['html'][:200]} ({node.get('failureSummary', '')[:200]})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def is_too_wide(page: Page) -> bool:
    """Tell whether a page has to be moved sideways to be read."""
    wide: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide
