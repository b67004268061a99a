"""Spreadsheets of any kind, as small as their formats allow."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from service.lists.base import letters

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORKBOOK = (
    f'<workbook xmlns:r="{_RELATIONS}"><sheets><sheet name="old" state="hidden" r:id="r9"/>'
    '<sheet name="people" r:id="r1"/></sheets></workbook>'
)
_PARTS = (
    f'<Relationships><Relationship Id="r1" Type="{_RELATIONS}/worksheet"'
    f' Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{_RELATIONS}/sharedStrings"'
    f' Target="sharedStrings.xml"/><Relationship Id="r3" Type="{_RELATIONS}/styles"'
    ' Target="styles.xml"/><Relationship Id="r9" Type="x/worksheet" Target="none.xml"/>'
    "</Relationships>"
)
_STYLES = (
    '<styleSheet><numFmts><numFmt numFmtId="170" formatCode="dd\\.mm\\.yyyy"/></numFmts><cellXfs>'
    '<xf numFmtId="0"/><xf numFmtId="170"/></cellXfs></styleSheet>'
)


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in parts.items():
            how = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            zipped.writestr(name, content, how)
    return packed.getvalue()


def workbook(data: str, texts: Sequence[str] = (), **more: str) -> bytes:
    """Return a workbook whose second sheet has this data, in XML; `more` replaces parts."""
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": f'<Relationships><Relationship Id="r" Type="{_RELATIONS}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": _WORKBOOK,
        "xl/_rels/workbook.xml.rels": _PARTS,
        "xl/styles.xml": _STYLES,
        "xl/sharedStrings.xml": f"<sst>{shared}</sst>",
        "xl/worksheets/sheet1.xml": f"<worksheet>{data}</worksheet>",
    }
    return archive({**parts, **{f"xl/{name}.xml": part for name, part in more.items()}})


def xlsx(*rows: Sequence[str]) -> bytes:
    """Return a workbook of texts."""
    data = "".join(
        f'<row r="{number}">'
        + "".join(
            f'<c r="{letters(at)}{number}" t="inlineStr"><is><t>{escape(text)}</t></is></c>'
            for at, text in enumerate(row)
        )
        + "</row>"
        for number, row in enumerate(rows, 1)
    )
    return workbook(f"<sheetData>{data}</sheetData>")


def ods(table: str, manifest: str = "") -> bytes:
    """Return a spreadsheet of LibreOffice whose second table has these rows, in XML."""
    names = " ".join(f'xmlns:{name}="{name}"' for name in ("office", "table", "text", "style"))
    content = (
        f'<office:document-content {names}><style:style style:name="ta1">'
        '<style:table-properties table:display="false"/></style:style><office:body>'
        '<table:table table:style-name="ta1"><table:table-row><table:table-cell><text:p>hidden'
        "</text:p></table:table-cell></table:table-row></table:table>"
        f"<table:table>{table}</table:table><table:table/></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return archive({"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": content})


def xls(*rows: Sequence[str | float]) -> bytes:
    """Return a workbook as Excel 2 wrote it, the simplest that there is."""
    records = [struct.pack("<HHHH", 0x0009, 4, 2, 0x0010)]
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            head = struct.pack("<HH3x", row, column)
            if isinstance(cell, str):
                text = cell.encode("cp1252")
                record, said = 0x0004, head + bytes([len(text)]) + text
            else:
                record, said = 0x0003, head + struct.pack("<d", cell)
            records.append(struct.pack("<HH", record, len(said)) + said)
    return b"".join([*records, struct.pack("<HH", 0x000A, 0)])
