"""The headings of a contact's other values, in many languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from service.lists import looks


def _listed(text: str) -> frozenset[str]:
    """Return the headings in a text, separated by semicolons or line breaks."""
    each = (looks.plain(each) for line in text.splitlines() for each in line.split(";"))
    return frozenset(filter(None, each))


_NAME: Final = _listed(
    """
    name;full name;fullname;display name;contact name;nom complet;nombre completo;nome completo
    vollständiger name;kunde;customer;имя;фио;姓名;名前;氏名;이름;الاسم;שם;nama;ad soyad;jina
    """
)
_FIRST: Final = _listed(
    """
    first name;firstname;first_name;given name;vorname;prénom;prenom;nombre;nombres;nome
    imię;voornaam;förnamn;fornavn;etunimi;ad
    """
)
_LAST: Final = _listed(
    """
    last name;lastname;last_name;surname;family name;nachname;nom;apellido;apellidos
    sobrenome;cognome;nazwisko;achternaam;efternamn;etternavn;sukunimi;soyad;фамилия
    """
)
_EMAIL: Final = _listed(
    """
    email;e-mail;mail;email address;e-mail address;e-mail 1 - value;email 1 - value;emails
    correo;correo electrónico;courriel;e-mail-adresse;почта
    """
)
_ORGANISATION: Final = _listed(
    """
    organisation;organization;company;organization name;organization 1 - name;firma
    unternehmen;empresa;société;entreprise;azienda;компания
    """
)
_TAGS: Final = _listed(
    """
    tags;tag;labels;categories;group membership;kategorien
    """
)
_NUMBERS: Final = frozenset({"other_numbers"})
_AND: Final = re.compile(r"\s*(?:,|;|:::)\s*")


class ParsedRow(NamedTuple):
    """A person's values in a list, under our names; `others` has the rest."""

    name: str
    numbers: list[str]
    emails: list[str]
    organisation: str
    tags: list[str]
    others: dict[str, str]


def part(values: Mapping[str, str]) -> ParsedRow:
    """Split the values of a row into the fields of every contact and the list's own.

    First and last names are also among the list's own: a message may need only one of them.
    """
    taken: dict[str, str] = {}
    others: dict[str, str] = {}
    for heading, value in values.items():
        meaning = _MEANINGS.get(looks.plain(heading))
        if meaning:
            taken.setdefault(meaning, value)
        if meaning in {None, "first", "last"}:
            others[heading] = value
    parts = (taken.get("first"), taken.get("last"))
    return ParsedRow(
        _line(taken.get("name") or " ".join(filter(None, parts))),
        list(filter(None, _AND.split(taken.get("numbers", "")))),
        [each for each in _AND.split(taken.get("email", "")) if "@" in each],
        _line(taken.get("organisation", "")),
        list(filter(None, map(_line, _AND.split(taken.get("tags", ""))))),
        others,
    )


def _line(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


_MEANINGS: Final = {
    heading: meaning
    for meaning, known in (
        ("name", _NAME),
        ("first", _FIRST),
        ("last", _LAST),
        ("email", _EMAIL),
        ("organisation", _ORGANISATION),
        ("tags", _TAGS),
        ("numbers", _NUMBERS),
    )
    for heading in known
}
