"""Lists as they are found in the wild, of every kind, and what is asked about them."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
from contextlib import suppress

import pytest

from service.core import numbers
from service.lists import tables
from service.lists.base import Entry, ListError
from service.lists.tables import Table
from tests.spreadsheets import archive, ods, workbook, xls, xlsx

ADA, BEN = "2348179803743", "2349048988056"
NAMED = f"Telefon;Vorname\n+{ADA};Jürgen\n+{BEN};Zoë\n"
JUERGEN = Entry(2, (f"+{ADA}",), {"Vorname": "Jürgen"})


def read(content: bytes | str, charset: str = "", **wanted: str) -> Table:
    raw = content.encode() if isinstance(content, str) else content

    def is_number(text: str) -> bool:
        return numbers.normalise(text) is not None

    return tables.read(io.BytesIO(raw), wanted=wanted, is_number=is_number, charset=charset)


def entries(content: bytes | str, **wanted: str) -> list[Entry]:
    return list(read(content, **wanted).entries)


def people(content: bytes | str, **wanted: str) -> list[tuple[str, ...]]:
    return [entry.numbers for entry in entries(content, **wanted)]


def refusal(content: bytes | str, **wanted: str) -> str:
    with pytest.raises(ListError) as caught:
        entries(content, **wanted)
    return str(caught.value)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac_roman"]
)
def test_a_text_is_read_in_whatever_encoding_a_spreadsheet_saved_it(encoding: str) -> None:
    table = read(NAMED.encode(encoding))
    assert next(table.entries) == JUERGEN
    assert table.place(2) == "Row 2, column A (Telefon)"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("cp1251", "Мария Сидорова"),
        ("cp1250", "Żółć Święta"),
        ("cp932", "山田太郎と佐藤さんの名簿"),
        ("gb18030", "张伟明和李娜的名单客户"),
        ("cp949", "김철수와 이영희의 명단"),
    ],
)
def test_other_scripts_are_recognised_or_declared(encoding: str, name: str) -> None:
    raw = f"Phone,Name\n{ADA},{name}\n".encode(encoding)
    for charset in ("", encoding):
        [entry] = read(raw, charset=charset).entries
        assert entry.values == {"Name": name}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_separator_is_found_also_where_values_have_others_in_them(
    separator: str, end: str
) -> None:
    text = end.join(
        (
            separator.join(("Name", "Phone")),
            separator.join(('"Obi, Ada; | the 1st"', ADA)),
            "",
            separator.join(('"Ben\nJr"', BEN)),
        )
    )
    assert [(entry.row, entry.numbers) for entry in entries(text)] == [(2, (ADA,)), (4, (BEN,))]


def test_excel_may_name_the_separator_and_keep_digits_by_a_formula() -> None:
    assert entries(f'sep=;\nTel;Name\n="0{ADA}";="007"\n') == [
        Entry(3, (f"0{ADA}",), {"Name": "007"})
    ]


def test_a_title_and_empty_rows_above_the_heading_are_passed_over() -> None:
    text = f"Customers of 2026,,\n,,\nName,Mobile number,City\nAda,{ADA},Lagos\n"
    assert entries(text) == [Entry(4, (ADA,), {"Name": "Ada", "City": "Lagos"})]


def test_without_a_heading_columns_are_named_by_letters() -> None:
    assert entries(f"Ada,{ADA}\nBen,{BEN}\n")[1] == Entry(2, (BEN,), {"A": "Ben"})
    assert people(f"{ADA}\n{BEN}\n") == [(ADA,), (BEN,)]


@pytest.mark.parametrize(
    "heading",
    [
        "to",
        "Téléphone portable",
        "Nº de teléfono",
        "Handynummer",
        "WhatsApp-Nr.",
        "手机号码",
        "携帯電話",
        "رقم الهاتف",
        "Номер телефона",
        "Celular",
        "msisdn",
        "TELEFONE",
        "Phone Number (required)",
    ],
)
def test_the_numbers_are_known_by_their_heading_in_many_languages(heading: str) -> None:
    assert people(f"id,{heading}\n10002345,{ADA}\n") == [(ADA,)]


def test_the_numbers_are_known_by_what_they_look_like() -> None:
    assert people(f"ref,contact,born\nA1,{ADA},1995-01-27\nA2,+{BEN},27.01.1995\n")[0] == (ADA,)
    assert people(f"customer,x\n10002345,{ADA}\n10002346,{BEN}\n") == [(ADA,), (BEN,)]


def test_two_columns_that_may_be_the_numbers_are_asked_about_by_name() -> None:
    text = f"Name,Phone,Handy\nAda,{ADA},{BEN}\n"
    asked = refusal(text)
    assert 'B ("Phone") and C ("Handy") may both be the numbers' in asked
    assert '"columns": {"to": "Phone"}' in asked
    assert people(text, to="handy") == [(BEN,)]
    assert people(text, to="B") == [(ADA,)]
    assert people(f"Name,Phone,Handy\nAda,,{BEN}\n") == [(BEN,)]
    assert "may both be the numbers" in refusal(f"{ADA},{BEN}\n")


def test_a_column_may_be_given_another_name() -> None:
    text = f"Rufnummer;Vorname\n{ADA};Ada\n"
    assert entries(text, name="Vorname") == [Entry(2, (ADA,), {"name": "Ada"})]
    assert "There is no column 'Name'. There are A (\"Rufnummer\") and" in refusal(text, x="Name")


def test_two_columns_of_one_name_and_none_with_numbers_are_refused() -> None:
    assert "Columns B and C are both named 'name'" in refusal(f"to,name,Name \n{ADA},a,b\n")
    asked = refusal("name,city\nAda,Lagos\n")
    assert 'No column looks like telephone numbers. There are A ("name") and B ("city")' in asked


def test_googles_and_outlooks_exports_name_every_number_of_a_person() -> None:
    google = (
        "First Name,Last Name,Phone 1 - Label,Phone 1 - Value,Phone 2 - Label,Phone 2 - Value\n"
        f"Ada,Obi,Home,+{BEN},Mobile,+{ADA}\nBen,Eke,Mobile,+{BEN} ::: +{ADA},,\n"
    )
    assert people(google) == [(f"+{BEN}", f"+{ADA}"), (f"+{BEN}", f"+{ADA}")]
    outlook = (
        '"First Name","Last Name","Business Fax","Home Phone","Mobile Phone"\r\n'
        f'"Zoë","Obi","{BEN}","{BEN}","{ADA}"\r\n'
    ).encode("cp1252")
    assert entries(outlook)[0].numbers == (ADA, BEN)
    assert entries(outlook)[0].values["First Name"] == "Zoë"


def test_rows_that_are_shorter_or_longer_than_the_heading_are_read() -> None:
    text = f"Phone,Name,,\n{ADA}\n{BEN},Ben,,,,surplus\n"
    assert entries(text) == [Entry(2, (ADA,), {}), Entry(3, (BEN,), {"Name": "Ben"})]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty."),
        ("\n\n,,\n", "no rows with anything"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "image/png, not a list"),
        (b"PK\x03\x04 and no more", "incomplete or damaged"),
        (archive({"a.txt": "x"}), "an archive, not a spreadsheet"),
        (archive({"xl/workbook.bin": "x"}), "XLSB"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "The XLS workbook is damaged"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "protected by a password",
        ),
        ("<html><table><tr><td>Phone</td></tr></table></html>", "is HTML or XML"),
        ('[{"to": "1"}]', "each object on its own line"),
        (f"Phone\n{ADA}\n{ADA}\0\n", "neither text nor"),
        (f"Phone\n{ADA}\n" * 5_000 + "\0", "null character"),
        (bytes(range(256)) * 9, "neither text nor a spreadsheet"),
        ("Phone" + "," * 1_100 + f"x\n{ADA}\n", "reaches column API"),
        (f'Phone,Name\n{ADA},"' + "x\n" * 40_000, "more than 65,536 characters"),
        (f"Phone\n{ADA},{'x' * 70_000}\n", "more than 65,536 characters"),
    ],
)
def test_what_is_no_list_is_refused_with_what_to_do(content: bytes | str, reason: str) -> None:
    assert reason in refusal(content)


def test_an_unknown_charset_and_one_that_does_not_fit_are_refused() -> None:
    for charset in ("klingon", "shift_jis"):
        with pytest.raises(ListError):
            list(read(f"Phone\n{ADA}\n".encode() + b"\x80\xff", charset=charset).entries)


CELL = '<c r="{}"{}><v>{}</v></c>'


def cells(number: int, *written: tuple[str, str, str], hidden: str = "") -> str:
    inside = "".join(
        CELL.format(f"{column}{number}", more, value) for column, more, value in written
    )
    return f'<row r="{number}"{hidden}>{inside}</row>'


def test_a_workbook_is_read_as_people_see_it() -> None:
    shared = ' t="s"'
    rows = (
        cells(1, ("A", shared, "0"), ("B", shared, "1"), ("C", shared, "2"), ("D", shared, "3")),
        cells(2, ("A", "", "2.348179803743E12"), ("B", ' s="1"', "34726"), ("D", ' t="e"', "#N/A")),
        cells(3, ("A", "", BEN), hidden=' hidden="1"'),
        f'<row r="4"><c r="A4" t="str"><f>"+"&amp;1</f><v>+{BEN}</v></c><c r="B4"><v>0.5</v></c>',
        '<c r="C4" t="b"><v>1</v></c><c r="XFD4" s="1"/></row><row r="1048576"/>',
    )
    data = f'<cols><col min="3" max="3" hidden="1"/></cols><sheetData>{"".join(rows)}</sheetData>'
    texts = ["Phone", "Born", "Secret", "Note_x000A_here"]
    assert entries(workbook(data, texts)) == [
        Entry(2, (ADA,), {"Born": "1995-01-27"}),
        Entry(4, (f"+{BEN}",), {"Born": "0.5"}),
    ]


def test_merged_cells_say_the_same_in_all_that_they_cover() -> None:
    title = CELL.format("A1", ' t="inlineStr"', "").replace("<v></v>", "<is><t>List</t></is>")
    text = ' t="inlineStr"'
    rows = (
        f'<row r="1">{title}</row>'
        + cells(2, ("A", text, "Phone"), ("B", text, "City"))
        + cells(3, ("A", "", ADA), ("B", text, "Lagos"))
        + cells(4, ("A", "", BEN))
    )
    merged = '<mergeCells><mergeCell ref="A1:B1"/><mergeCell ref="B3:B4"/></mergeCells>'
    found = entries(workbook(f"<sheetData>{rows}</sheetData>{merged}"))
    assert found == [Entry(3, (ADA,), {"City": "Lagos"}), Entry(4, (BEN,), {"City": "Lagos"})]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (workbook("<sheetData><row><c><v>1</v>"), "is not XML"),
        (workbook("", sharedStrings="<sst"), "is not XML"),
        (
            workbook('<sheetData><row><c t="s"><v>9</v></c></row></sheetData>'),
            "a missing shared text",
        ),
        (
            workbook('<sheetData><row><c r="ABCDE1"><v>9</v></c></row></sheetData>'),
            "which does not exist",
        ),
        (
            workbook('<sheetData><row><c r="ZZZ1"><v>9</v></c></row></sheetData>'),
            "which does not exist",
        ),
        (workbook('<sheetData><row><c r="XFD1"><v>9</v></c></row></sheetData>'), "1,000 columns"),
        (workbook("", workbook="<workbook><sheets/></workbook>"), "no visible sheet"),
        (
            workbook("", **{"worksheets/sheet1": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}),
            "declares XML entities",
        ),
        (xlsx(["Phone"], ["x" * 70_000]), "more than 65,536 characters"),
        (workbook("<a>" * 300 + " " * 70_000), "more than 256 levels"),
        (workbook("", styles="<a>" * 300 + "</a>" * 300), "more than 256 levels"),
        (workbook(f'<sheetData a="{"x" * 1_200_000}"/>'), "a tag of more than 1,048,576 bytes"),
        (workbook("", styles=" " * 33 * 2**20), "more than 33,554,432 bytes"),
        (
            workbook(
                '<sheetData><row r="1"><c t="str"><v>Phone</v></c></row></sheetData>'
                + '<mergeCell ref="A1:XFD9"/>' * 2
            ),
            "merged areas that overlap",
        ),
        (
            ods(
                '<table:table-row table:number-rows-repeated="1000000" '
                'table:visibility="collapse"><table:table-cell '
                'table:number-columns-repeated="20"><text:p>1</text:p></table:table-cell>'
                "</table:table-row>"
            ),
            "repeated too often",
        ),
        (
            ods(f"<table:table-row><table:table-cell>{'<text:p/>' * 70_000}"),
            "more than 65,536 characters",
        ),
        (ods("<text:a>" * 300 + " " * 70_000), "more than 256 levels"),
    ],
)
def test_a_workbook_that_no_program_writes_is_refused(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


def test_what_takes_a_parser_long_takes_no_longer_than_the_file_has_bytes() -> None:
    ada = cells(1, ("A", "", ADA))
    attacks = (
        workbook(f"<sheetData>{ada}</sheetData>{'<mergeCell ' * 200_000}/>" + "<a/>" * 9),
        workbook(f"<sheetData>{ada}</sheetData><mergeCell ref='A{'1' * 5_000}:B2'/>"),
        "BEGIN:VCARD\n" + "TEL:\n" * 200_000 + "END:VCARD\n",
        "BEGIN:VCARD\nFN\n" + "  \n" * 60_000 + "END:VCARD\n",
        "Phone\n" + '"\nz",' * 200_000,
    )
    begin = time.process_time()
    for attack in attacks:
        with suppress(ListError):
            entries(attack)
    assert time.process_time() - begin < 30  # where a step is quadratic, minutes


def test_what_no_database_stores_is_left_out_or_refused() -> None:
    data = cells(1, ("A", ' t="str"', "Phone"), ("B", ' t="str"', "City_x0000_"))
    data += cells(2, ("A", "", ADA), ("B", ' t="str"', "La_x0000__xD800_gos"))
    assert entries(workbook(f"<sheetData>{data}</sheetData>")) == [
        Entry(2, (ADA,), {"City": "Lagos"})
    ]
    quoted = "FN;ENCODING=QUOTED-PRINTABLE;CHARSET={}:A\\udc00da\nTEL:+" + ADA
    for charset in ("UNICODE_ESCAPE", "IDNA", "UTF\0"):
        [card] = entries(f"BEGIN:VCARD\n{'X:y' * 30_000}\n{quoted.format(charset)}\nEND:VCARD\n")
        "".join(card.values.values()).encode()
    for charset in ("utf-7", "unicode_escape", "punycode", "a\0b"):
        with pytest.raises(ListError, match="is unknown"):
            read(NAMED, charset)
    assert people(f'sep="\nPhone\n{ADA}\n') == [(ADA,)]


@pytest.mark.parametrize("start", ["Phone\n", "BEGIN:VCARD\nFN:"])
def test_a_text_with_bytes_of_another_encoding_is_refused(start: str) -> None:
    content = start.encode() + b"a" * 20_000 + "\nJürgen\nEND:VCARD\n".encode("cp1252")
    with pytest.raises(ListError, match="not UTF-8 throughout"):
        list(read(content, "utf-8").entries)


def test_a_zip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.lists.archives.MOST_UNPACKED", 1_000_000)
    data = f"<sheetData>{'<row><c/></row>' * 70_000}</sheetData>"
    assert "unpacks to more than 1,000,000 bytes" in refusal(workbook(data))


@pytest.mark.parametrize("said", [40_000, 2])
def test_a_workbook_of_very_many_parts_is_refused_before_they_are_listed(said: int) -> None:
    """Each part takes hundreds of bytes of memory. The file may say that it has fewer."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
        archive.writestr("[Content_Types].xml", "")
    body = packed.getvalue()
    directory = body.index(b"PK\1\2")
    entry = body[directory : body.index(b"PK\1\2", directory + 4)]
    entries = entry * 40_000
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, said, said, len(entries), directory, 0)
    content = body[:directory] + entries + tail
    tracemalloc.start()
    assert "directory has more than 1,048,576 bytes" in refusal(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(content)


def test_a_spreadsheet_of_libreoffice_is_read_as_people_see_it() -> None:
    def row(*inside: str, more: str = "") -> str:
        return f"<table:table-row{more}>{''.join(inside)}</table:table-row>"

    def cell(text: str, more: str = "") -> str:
        return f"<table:table-cell{more}><text:p>{text}</text:p></table:table-cell>"

    number = f' office:value-type="float" office:value="{ADA}"'
    born = ' office:value-type="date" office:date-value="1995-01-27"'
    hidden = ' table:visibility="filter"'
    note = "<office:annotation><text:p>a note</text:p></office:annotation>"
    table = (
        "<table:table-column/><table:table-column/>"
        '<table:table-column table:visibility="collapse"/>'
        + row(
            cell("Phone"),
            cell("City", ' table:number-columns-spanned="1"'),
            cell("x"),
            cell("Born"),
        )
        + row(cell("2.3E+12", number), cell("La<text:s/>gos"), cell("y"), cell("27.01.95", born))
        + row(cell(BEN), more=hidden)
        + row(
            f"<table:table-cell>{note}<text:p>{BEN}</text:p></table:table-cell>",
            more=' table:number-rows-repeated="2"',
        )
        + row('<table:table-cell table:number-columns-repeated="16384"/>')
        + row("<table:table-cell/>", more=' table:number-rows-repeated="1048576"')
    )
    assert entries(ods(table)) == [
        Entry(2, (ADA,), {"City": "La gos", "Born": "1995-01-27"}),
        Entry(4, (BEN,), {}),
        Entry(5, (BEN,), {}),
    ]
    locked = "<manifest:encryption-data/>"
    assert "protected by a password" in refusal(ods(table, locked))
    wide = row(cell("x", ' table:number-columns-repeated="2000"'))
    assert "1,000 columns" in refusal(ods(wide))


def test_an_old_excels_workbook_is_read() -> None:
    assert entries(xls(["Phone", "Name"], [float(ADA), "Zoë"], ["", ""])) == [
        Entry(2, (ADA,), {"Name": "Zoë"})
    ]


def test_records_have_their_names_in_each_line() -> None:
    text = (
        f'{{"to": {ADA}, "name": "Ada", "vip": true}}\n\n'
        f'{{"to": "+{BEN}", "variables": {{"city": "Lagos"}}, "name": null}}\n'
    )
    table = read(text)
    assert list(table.entries) == [
        Entry(1, (ADA,), {"name": "Ada", "vip": "true"}),
        Entry(3, (f"+{BEN}",), {"city": "Lagos"}),
    ]
    assert table.place(3) == "Line 3, 'to'"
    assert "Line 2 is not valid JSON" in refusal(text.replace("\n\n", "\n{\n"))
    assert "'a' must be a string" in refusal('{"to": "1", "a": [1]}')
    assert "Line 2 is not an object" in refusal(f'{{"to": "{ADA}"}}\n[1]')


CARDS = f"""BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=BCr=
gen;;;
TEL;HOME;FAX:+490000
TEL;CELL;PREF:+{ADA}
PHOTO;ENCODING=BASE64;JPEG:/9j/4AAQ
 {"A" * 200}

END:VCARD
BEGIN:VCARD
VERSION:3.0
FN:Ben Eke\\, Jr
ORG:Acme;Sales
item1.TEL;type=HOME:+{ADA}
item2.TEL;type=CELL;type=VOICE:+{BEN[:5]}
 {BEN[5:]}
EMAIL;TYPE=INTERNET:ben@example.com
CATEGORIES:vip,friends
END:VCARD
BEGIN:VCARD
VERSION:4.0
FN:No Phone
END:VCARD
BEGIN:VCARD
VERSION:4.0
FN:Zoë
TEL;VALUE=uri;PREF=1;TYPE="voice,cell":tel:+{ADA}
END:VCARD
"""


def test_cards_of_every_version_are_people() -> None:
    first, second, third, fourth = entries(CARDS.replace("\n", "\r\n"))
    assert first == Entry(
        1,
        (f"+{ADA}",),
        {"name": "Jürgen Müller", "first_name": "Jürgen", "last_name": "Müller"},
    )
    assert second.numbers == (f"+{BEN}", f"+{ADA}")
    assert second.values == {
        "name": "Ben Eke, Jr",
        "organisation": "Acme, Sales",
        "email": "ben@example.com",
        "categories": "vip,friends",
    }
    assert third == Entry(3, (), {"name": "No Phone"})
    assert fourth == Entry(4, (f"tel:+{ADA}",), {"name": "Zoë"})
    assert read(CARDS).place(2) == "Card 2"
    assert "Card 1 does not end" in refusal("BEGIN:VCARD\nFN:Ada\n")
