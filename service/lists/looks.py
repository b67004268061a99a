"""Recognise phone numbers by their form, or by the name of their column."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_DIGITS: Final = range(6, 18)
_LONGEST: Final = 200

_NUMBER: Final = re.compile(r"(?:p:|tel:)?'?[+(\[]?[ +(]*[0-9][0-9 ()\[\]./+-]*(?:;ext=[0-9]+)?")
_EXPONENT: Final = re.compile(r"[0-9][.,][0-9]+[eE]\+?[0-9]{1,2}")
_LINK: Final = re.compile(
    r"(?:https?://)?(?:wa\.me/|api\.whatsapp\.com/)|[0-9]+@(?:c\.us|s\.whats)"
)
_DATE: Final = re.compile(r"[0-9]{1,4}([./-])[0-9]{1,2}\1[0-9]{1,4}(?:[ T].*)?")
_FRACTION: Final = re.compile(r"[0-9]*[.,][0-9]*[1-9][0-9]*")
_WORDS: Final = re.compile(r"[^\W\d_]+")

_PHONE: Final = frozenset(
    """
    phone phones phonenumber phoneno telephone telephonenumber tel telno telefon
    telefonnummer telefonnr telefone telefono telefoon telefoonnummer telp telpon telefoni
    telefonszam telefonu mobile mobilephone mobilenumber mobileno mobil mobilnummer mobilnr
    mobiltelefon mobiel mobielnummer movil celular cel cell cellphone cellulare cellulaire
    portable handy handynummer handynr rufnummer nummertel gsm msisdn whatsapp
    whatsappnumber wa hp puhelin puhelinnumero matkapuhelin kommorka komorka telefonas simu
    sdt dienthoai телефон телефона телефоны мобильный мобильныи сотовый сотовыи
    номертелефона тел моб τηλεφωνο κινητο τηλ هاتف الهاتف جوال الجوال موبايل تلفن موبایل
    همراه טלפון נייד फोन मोबाइल 전화 전화번호 휴대폰 휴대전화 핸드폰
    """.split()  # noqa: SIM905 - a list of them would be a page long
)
"""Words in the names of phone columns, without accents."""

_WITHIN: Final = ("電話", "电话", "手机", "手機", "携帯", "โทรศัพท", "มือถือ", "फ़ोन", "मोबाइल", "फोन")
"""The same for scripts without spaces between words, or with marks within words."""

_OTHERWISE: Final = frozenset(
    """
    type typ label etikett name ext extension carrier provider model fax telefax pager
    verified status country code prefix vorwahl
    """.split()  # noqa: SIM905 - a list of them would be a page long
)
"""Words that make such a name mean something other than the number of a phone."""

_WEAK: Final = frozenset(
    """
    number numbers numero nummer num no nr recipient recipients
    """.split()  # noqa: SIM905 - a list of them would be a page long
)

_MOBILE: Final = frozenset(
    """
    mobile mobil mobilephone mobiltelefon cell cellphone celular cellulare movil handy gsm
    whatsapp portable iphone primary
    """.split()  # noqa: SIM905 - a list of them would be a page long
)


def like_number(text: str) -> bool:
    """Return whether a text looks like a phone number, even a damaged one."""
    text = _ascii(text.strip()) if len(text) <= _LONGEST else ""
    digits = sum("0" <= sign <= "9" for sign in text)
    if digits < 2:  # noqa: PLR2004 - an exponent has at least two
        return False
    if _EXPONENT.fullmatch(text) or _LINK.match(text):
        return True
    if _DATE.fullmatch(text) or _FRACTION.fullmatch(text):
        return False
    return digits in _DIGITS and _NUMBER.fullmatch(text) is not None


def names_number(name: str) -> bool:
    """Return whether a column with this name has phone numbers."""
    words = _words(name)
    if not words & _OTHERWISE and any(part in name for part in _WITHIN):
        return True
    joined = "".join(_WORDS.findall(plain(name)))
    return (bool(words & _PHONE) or joined in _PHONE) and not words & _OTHERWISE


def may_name_number(name: str) -> bool:
    """Return whether a column with this name may have numbers, of phones or others."""
    return bool(_words(name)) and _words(name) <= _WEAK


def names_mobile(name: str) -> bool:
    """Return whether a column with this name has numbers of mobile phones."""
    return bool(_words(name) & _MOBILE)


def plain(name: str) -> str:
    """Normalise a name for comparison: lower case, without accents and outer spaces."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).strip()


def _words(name: str) -> set[str]:
    return set(_WORDS.findall(plain(name)))


def _ascii(text: str) -> str:
    """Return a text with ASCII digits, spaces and dashes, and without invisible characters."""
    if text.isascii():
        return text
    return "".join(map(_meant, text))


def _meant(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind == "Nd":
        return str(unicodedata.decimal(sign))
    return {"Cf": "", "Zs": " ", "Pd": "-"}.get(kind, sign)
