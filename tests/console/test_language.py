"""The words of the console, in each of its languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from service.console import language
from tests.conftest import ROOT, Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

CATALOGUES = sorted(language.LOCALES.glob("*.po"))
PLACES = re.compile(r"%\((\w+)\)s")


def sentences() -> Iterator[tuple[str, ...]]:
    """Yield all that the console says, the singular and the plural of what is counted."""
    for source in (ROOT / "service/console").glob("*.py"):
        with source.open("rb") as file:
            words = {"_": None, "gettext": None, "ngettext": (1, 2)}
            yield from (_tuple(found) for _, found, _, _ in extract("python", file, words))
    for source in (ROOT / "service/templates/console").glob("*.html"):
        with source.open("rb") as file:
            for _, _, found, _ in babel_extract(file, ["_", "ngettext"], [], {}):
                yield _tuple(found)


def _tuple(found: str | Sequence[str | None] | None) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else tuple(each for each in found or () if each)


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.stem)


def test_each_language_has_a_catalogue() -> None:
    assert {path.stem for path in CATALOGUES} == language.LANGUAGES.keys() - {"en"}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_catalogue_translates_each_sentence_and_no_other(path: Path) -> None:
    said = {sentence[0] for sentence in sentences() if sentence}
    kept = {message.id if isinstance(message.id, str) else message.id[0] for message in read(path)}
    assert kept - {""} == said


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_translation_has_the_same_places_to_fill_in(path: Path) -> None:
    for message in read(path):
        if message.id:
            texts = _tuple(message.string)
            ids = _tuple(message.id)
            assert len(texts) == len(ids), message.id
            assert set(PLACES.findall(ids[-1])) == set(PLACES.findall(texts[-1])), message.id


@on_sqlite
def test_pages_are_in_the_viewers_language_zone_and_notation(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    order = {"send_type": "individual", "message": {"text": "Bonjour"}}
    numbers = [str(12025552000 + number) for number in range(1_200)]
    at = "2999-07-01T12:00:00Z"
    acme.make("/broadcast", to=numbers, send_at=at, expires_at="2999-07-02T12:00:00Z", **order)
    visitor = ConsoleUser(acme)
    visitor.http.set_cookie("crier_zone", "Europe/Paris", path="/console")
    french = visitor.get("/broadcasts", headers={"Accept-Language": "fr-CA,en;q=0.5"}).text
    assert '<html lang="fr">' in french
    assert "1\N{NO-BREAK SPACE}200 destinataires" in french
    assert "14 h 00" in french
    english = visitor.get("/broadcasts", headers={"Accept-Language": "en-GB"}).text
    assert "1,200 recipients" in english
    assert "14:00" in english
    visitor.http.set_cookie("crier_zone", "../../etc/passwd", path="/console")
    assert "12:00" in visitor.get("/broadcasts", headers={"Accept-Language": "en-GB"}).text
    visitor.http.post("/console/preferences", data={"language": "fr", "theme": "dark"})
    chosen = visitor.get("/broadcasts", headers={"Accept-Language": "en-GB"}).text
    assert '<html lang="fr" data-theme="dark">' in chosen
