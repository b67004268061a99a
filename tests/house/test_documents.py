"""The documents name files that are there, and give no figure that nothing measures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest

from benchmarks import results
from service.app import Application
from tests.conftest import ROOT, on_sqlite

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

PLACEHOLDER = re.compile(r"NAME|NOUN|…")
SUFFIXES = (".conf", ".json", ".md", ".py", ".service", ".svg", ".toml", ".txt", ".yaml")
FOLDERS = ("benchmarks/", "deploy/", "docs/", "migrations/", "service/", "tests/")
SUPERSEDED = re.compile(r"^\*?\*?Status:.*superseded", re.IGNORECASE | re.MULTILINE)
MEASURED = re.compile(
    r"\d times (?:as|so)\b|\d ?(?:µs|ms)\b|(?:usually|about|some) [\d.]+(?: to [\d.]+)? seconds"
)
"""A comparison such as `2.2 times as long`, or a time: it is true for one run on one machine."""


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


def links(text: str) -> list[str]:
    """Return the targets of links that lead to this project."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]


def anchors(text: str) -> set[str]:
    """Return the anchors that a renderer makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(document: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    found = document.parent / target if target else document
    return found.exists() and (not anchor or anchor in anchors(found.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "document", [*documents(), ROOT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_link_leads_somewhere(document: Path) -> None:
    found = links(document.read_text(encoding="utf-8"))
    assert [link for link in found if not leads_somewhere(document, link)] == []


def test_a_link_to_a_missing_heading_is_found_out() -> None:
    assert leads_somewhere(ROOT / "README.md", "docs/channels.md#sandbox")
    assert not leads_somewhere(ROOT / "README.md", "docs/channels.md#nothing")


def code(text: str) -> str:
    """Return what stands in backticks, one piece a line."""
    blocks = re.findall(r"^```\n(.+?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])


def targets(text: str) -> set[str]:
    return set(re.findall(r"\bmake (?:[A-Z]+=\S+ )*([a-z][a-z-]*)\b", code(text)))


def flask_commands(text: str) -> set[tuple[str, str]]:
    found = re.findall(r"\bflask (?:--app \S+ )?([a-z]+)(?: ([a-z]+))?", code(text))
    return {(command, subcommand) for command, subcommand in found}


def has_command(app: Application, command: str, subcommand: str) -> bool:
    with app.app_context():
        found = app.cli.get_command(click.Context(app.cli), command)
    if isinstance(found, click.Group):
        return not subcommand or subcommand in found.commands
    return found is not None


@on_sqlite
@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists(document: Path, app: Application) -> None:
    text = document.read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    assert targets(text) - known == set()
    assert [it for it in flask_commands(text) if not has_command(app, *it)] == []
    modules = re.findall(r"\bpython -m ([\w.]+)", code(text))
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_a_command_that_is_gone_is_found_out(app: Application) -> None:
    assert targets("`make T=x nothing`") == {"nothing"}
    assert flask_commands("```\n.venv/bin/flask token make x\n```") == {("token", "make")}
    assert not has_command(app, "token", "make")
    assert not has_command(app, "nothing", "")


def test_the_index_names_every_page() -> None:
    index = links((ROOT / "docs/README.md").read_text(encoding="utf-8"))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - set(index) == set()


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda path: path.name
)
def test_what_was_measured_stands_among_the_numbers_that_a_command_prints(document: Path) -> None:
    before, _, rest = document.read_text(encoding="utf-8").partition(results.START)
    assert MEASURED.findall(before + rest.partition(results.END)[2]) == []


@pytest.mark.parametrize(
    "written",
    ["claims took 2.2 times as long", "8.5 µs", "4 to 5 ms", "usually 0.1 to 0.3 seconds"],
)
def test_what_was_measured_is_recognised(written: str) -> None:
    assert MEASURED.search(written)


@pytest.mark.parametrize("written", ["within two seconds", "ten times as long", "every 2 seconds"])
def test_what_the_code_says_is_not(written: str) -> None:
    assert not MEASURED.search(written)
