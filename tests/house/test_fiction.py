"""No example names somebody's telephone: whoever tries it out would write to a stranger."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from service.app import Application
from service.core import numbers
from tests.conftest import ROOT

FICTION = [
    r"1[2-9]\d\d55501\d\d",  # North America (https://www.nanpa.com)
    r"447700900\d{3}",  # United Kingdom (https://www.ofcom.org.uk), as those below
    r"442079460\d{3}",
    r"441632960\d{3}",
    r"614915701(10|56|57|58|59)",  # Australia (https://www.acma.gov.au)
    r"3363998\d{4}",  # France (https://www.arcep.fr)
]
"""The numbers that regulators keep free for films and documents."""

WRITTEN = re.compile(r"(?<![\w.+/=-])\+?\(?\d[\d() .-]{7,18}\d(?![\w=/-])")
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob(".env*"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("deploy/**/*"),
    *ROOT.glob("service/**/*.py"),
    *ROOT.glob("service/**/*.html"),
]
VENDORED = ROOT / "service" / "static" / "docs"


def real(text: str) -> Iterator[str]:
    """Yield the numbers in a text that may be somebody's."""
    for written in WRITTEN.findall(text):
        number = numbers.normalise(written)
        if number and not any(re.fullmatch(fiction, number) for fiction in FICTION):
            yield written


def test_a_number_in_use_is_found_and_one_of_fiction_is_not() -> None:
    assert list(real("call +234 817 980 3743 or 2349048988056.")) == [
        "+234 817 980 3743",
        "2349048988056",
    ]
    assert list(real("+1 202-555-0110, 447700900123, 2026-11-29, 1700000000000, 0.4")) == []


def test_no_document_and_no_source_has_a_number_in_use() -> None:
    paths = [path for path in DOCUMENTS if path.is_file() and not path.is_relative_to(VENDORED)]
    assert len(paths) > 100
    found = {str(path.relative_to(ROOT)): [*real(path.read_text())] for path in paths}
    assert {path: some for path, some in found.items() if some} == {}


def test_the_description_has_no_number_in_use(app: Application) -> None:
    spec = app.test_client().get("/openapi.json").json
    assert list(real(json.dumps(spec))) == []


@pytest.mark.parametrize("number", ["12025550110", "442079460958"])
def test_what_examples_use_is_taken_for_a_number(number: str) -> None:
    assert numbers.normalise(number) == number
