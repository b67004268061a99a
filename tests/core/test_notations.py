"""Tables of the ways in which people and programs write one number."""
# ruff: noqa: RUF001 - digits that look like others are what is tested

from __future__ import annotations

import pytest

from service.core import notations, numbers

ADA = "2348179803743"

MARKS = [
    ADA,
    f"+{ADA}",
    f"++{ADA}",
    f" \t{ADA}\r\n",
    f"\u202a+{ADA}\u202c",
    f"\u2068+{ADA}\u2069",
    f"\u200e{ADA}",
    f"\ufeff{ADA}",
    "234\u200b817\u2060980\u00ad3743",
]
SCRIPTS = [
    "٢٣٤٨١٧٩٨٠٣٧٤٣",
    "۲۳۴۸۱۷۹۸۰۳۷۴۳",
    "२३४८१७९८०३७४३",
    "২৩৪৮১৭৯৮০৩৭৪৩",
    "２３４８１７９８０３７４３",
    "＋２３４（０）８１７－９８０－３７４３",
    "+٢٣٤ ٨١٧ ٩٨٠ ٣٧٤٣",
    "234817980374٣",
]
FORMS = [
    "+234 817 980 3743",
    "+ 234 817 980 3743",
    "234-817-980-3743",
    "+234\u00a0817\u202f980\u20113743",
    "(234) 817-980-3743",
    "(+234) 817 980 3743",
    "+234 (817) 980 (3743)",
    "[234] 817 980 3743",
    "234.817.980.3743",
    "234/817/980/3743",
    "+234 (0) 817 980 3743",
    "+234 (0)817-980-3743",
    "23408179803743",
    "002348179803743",
    "00 234 (0) 817 980 3743",
    "(00234) 8179803743",
    f"- {ADA}",
    f"{ADA}.",
]
ADDRESSES = [
    f"tel:+{ADA}",
    "TEL:+234-817-980-3743",
    "tel:817-980-3743;phone-context=+234",
    f"sms:+{ADA}?body=Hi",
    f"whatsapp:+{ADA}",
    f"https://wa.me/{ADA}",
    f"http://www.wa.me/{ADA}/",
    f"wa.me/+{ADA}?text=I%20am%20in%20Lagos",
    f"https://api.whatsapp.com/send?phone={ADA}&text=Hi",
    f"https://web.whatsapp.com/send/?text=Hi&phone=%2B{ADA}",
    f"whatsapp://send?phone=+{ADA}",
    f"{ADA}@c.us",
    f"{ADA}@s.whatsapp.net",
    f"{ADA}:17@s.whatsapp.net",
    f"{ADA}.0:3@S.WHATSAPP.NET",
    f"p:+{ADA}",
]
SPREADSHEETS = [
    f"'{ADA}",
    f"\u2019+{ADA}",
    f'"{ADA}"',
    f"\u201c{ADA}\u201d",
    f"\u00ab{ADA}\u00bb",
    f'="{ADA}"',
    f"=+{ADA}",
    f"={ADA}",
    f"{ADA}.0",
    f"+{ADA}.00",
    "2.348179803743E12",
    "2.3481798037430e+12",
]


@pytest.mark.parametrize("written", [*MARKS, *SCRIPTS, *FORMS, *ADDRESSES, *SPREADSHEETS])
def test_one_number_is_read_however_it_is_written(written: str) -> None:
    assert numbers.normalise(written) == ADA


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("5215512345678", "525512345678"),
        ("+52 1 55 1234 5678", "525512345678"),
        ("5215512345678@c.us", "525512345678"),
        ("525512345678", "525512345678"),
        ("5491123456789", "5491123456789"),
        ("54 9 11 2345-6789", "5491123456789"),
        ("54 11 15 2345-6789", "5491123456789"),
        ("54 9 11 15 2345-6789", "5491123456789"),
        ("+54 (0) 11 15-2345-6789", "5491123456789"),
        ("541123456789", "541123456789"),
    ],
)
def test_the_marks_of_mobile_phones_in_mexico_and_argentina_are_read(
    written: str, number: str
) -> None:
    assert numbers.normalise(written) == number


@pytest.mark.parametrize("written", ["521551234567", "54911234567", "549", "521", "5211"])
def test_a_mark_of_mobile_phones_makes_no_number_of_what_is_none(written: str) -> None:
    assert numbers.normalise(written) is None


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("2.34818E+12", notations.SHORTENED),
        ("2,34818E+12", notations.SHORTENED),
        ("+2.34817980374E+12", notations.SHORTENED),
        ("2E12", notations.SHORTENED),
        ("34818E+12", notations.SHORTENED),
        ("-8179803509", notations.SUBTRACTED),
        ("\u22128179803509", notations.SUBTRACTED),
        ("120363025343298765@g.us", 'is a WhatsApp group: set "send_type" to "group"'),
        (
            "123456789012345@lid",
            "is an id that WhatsApp uses to hide a number: send the phone number",
        ),
        (
            "+12025550110 x5",
            "has an extension, which messages cannot reach: send the number without it",
        ),
        ("+12025550110~5", "has an extension, which messages cannot reach"),
        ("+1 202 555 0110 ext. 5", "has an extension, which messages cannot reach"),
        ("tel:+12025550110;ext=5", "has an extension, which messages cannot reach"),
        ("12025550110, 12025550111", "is more than one entry: send each one separately"),
        ("12025550110\n12025550111", "is more than one entry: send each one separately"),
        ("\u200f", "is empty"),
        ("''", "is empty"),
        ("Ada +12025550110", notations.MALFORMED),
        ("+12025550110 (Ada)", notations.MALFORMED),
        ("https://example.com/12025550110", notations.MALFORMED),
        ("https://wa.me/message/ABCDEF", notations.MALFORMED),
        ("ada@example.com", notations.MALFORMED),
        ("x" * 1_000_000, notations.MALFORMED),
    ],
)
def test_what_is_no_number_is_told_with_what_to_do(written: str, reason: str) -> None:
    assert numbers.normalise(written) is None
    assert numbers.reason(written).startswith(reason)
