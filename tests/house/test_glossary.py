"""Every public class is named by a word of the glossary, or by one that every engineer knows."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
TERMS = {
    word.lower() for term in re.findall(r"\*\*(.+?)\*\*", GLOSSARY) for word in term.split()
} | {"api", "crier", "waha", "apprise", "gateway", "talking", "twilio", "smpp"}

PROGRAMMING = """
    about action address age alphabet amount application archive area array attempt base blueprint
    bucket call caller cell choice cloud code collector command condition connection context
    converter coordinate count credential database deleted dialect engine entry failure field file
    filter flag form format id identity info kind layout limit line listener location lock member
    meter method name number object order page parameter parser phone place point pool
    preference prefix process reading reason region request response result retry row rule secret
    section sent setting socket source state step storage store syntax table taken text type url
    user value work worker
"""
"""Words with their usual meaning in programs, in HTTP and in tables."""

SHAPES = """
    accepted active answering applied bubble change claimable claimed claimer closed counted depth
    derived due estimate export exported fitted half health held imported in inbound incoming
    invalid lenient linked looked marks matches moment move moved omitted out outage owner pause
    prepared purged reach readiness received refused repeated replied retried shown strict watched
    whole written
"""
"""States and shapes, which a class adds to the noun of its module, as in `purge.Purged`."""


def classes() -> list[str]:
    found = [
        node.name
        for path in sorted((ROOT / "service").rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not node.name.endswith("Error")
    ]
    assert found
    return found


def noun(name: str) -> str:
    """Return the last word of a class's name: `broadcasts` for `PreparedBroadcasts`."""
    words = re.findall(r"[A-Z][a-z0-9]*", re.sub(r"(?<=.)Schema$", "", name))
    return str(words[-1]).lower()


def is_known(word: str) -> bool:
    known = TERMS | {*PROGRAMMING.split(), *SHAPES.split()}
    singular = {word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}
    return bool({word, re.sub("ves$", "f", word), *singular} & known)


def test_every_public_class_is_named_by_a_word_of_the_glossary() -> None:
    assert sorted({name for name in classes() if not is_known(noun(name))}) == []


@pytest.mark.parametrize(
    ("name", "known"), [("PreparedBroadcasts", True), ("WaitingReceipt", True), ("Weather", False)]
)
def test_a_word_that_is_not_in_the_glossary_is_found_out(name: str, *, known: bool) -> None:
    assert is_known(noun(name)) == known
