"""Which files are carried, told by what is in them."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import formats
from service.errors import MediaTypeError


def office(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("[Content_Types].xml", *names):
            archive.writestr(name, "<x/>")
    return file.getvalue()


def recognise(content: bytes, name: str = "file") -> str:
    return formats.recognise(io.BytesIO(content), name).type


FILES = {
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "gif": b"GIF89a\x01\x00\x01\x00",
    "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "3gp": b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x00\x00isom3gp4",
    "mp3": b"ID3\x03\x00\x00\x00\x00\x00\x00",
    "ogg": b"OggS\x00\x02\x00\x00",
    "amr": b"#!AMR\n\x3c\x91\x17\x16\xbe\x66",
    "aac": b"\xff\xf1\x50\x80\x01\x7f\xfc",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "docx": office("word/document.xml"),
    "xlsx": office("xl/workbook.xml"),
    "pptx": office("ppt/presentation.xml"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_in_a_file_says_what_it_is_whatever_its_name(kind: str) -> None:
    assert recognise(FILES[kind], "picture.exe") == kind


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("notes.txt", "Grüße".encode(), "txt"),
        ("NOTES.TXT", b"", "txt"),
        ("bitmap.txt", b"BMW is a make of car", "txt"),
        ("list.csv", b"name,phone\nAda,2348179803743\n", "csv"),
        ("ada.vcf", b"\xef\xbb\xbfBEGIN:VCARD\r\nVERSION:3.0\r\nEND:VCARD\r\n", "vcf"),
    ],
)
def test_texts_are_told_by_their_ending(name: str, content: bytes, kind: str) -> None:
    assert recognise(content, name) == kind


MARKUP = [
    b"<!DOCTYPE html><script>alert(1)</script>",
    b"\xef\xbb\xbf \r\n<HTML>",
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    b'<?xml version="1.0"?><svg/>',
    b"<!-- --><svg/>",
]


@pytest.mark.parametrize("content", MARKUP)
@pytest.mark.parametrize("name", ["a.jpeg", "a.txt", "a.csv", "a.vcf", "a.svg", "a.html", "a"])
def test_what_a_browser_would_run_is_refused_under_any_name(content: bytes, name: str) -> None:
    with pytest.raises(MediaTypeError, match="HTML, SVG and XML"):
        recognise(content, name)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"Gr\xfc\xdfe", "UTF-8"),
        ("a.txt", b"cut in the middle \xe2\x82", "UTF-8"),
        ("a.txt", b"text" * 20_000 + b"\0", "bytes of 0"),
        ("a.vcf", b"not a card", "BEGIN:VCARD"),
        ("a.bin", b"text without an ending", "no kind that channels carry"),
        ("a.exe", b"MZ\x90\x00" + bytes(100), "no kind that channels carry"),
        ("a.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "no kind"),
        ("a.docx", office("word/document.xml", "word/vbaProject.bin"), "macros"),
        ("a.docx", office("word/document.xml", "xl/workbook.xml"), "no kind"),
        ("a.zip", office("readme"), "no kind"),
        ("a.docx", office("word/document.xml")[:-30], "no kind"),
        ("a.docx", office(*(f"word/{number}" for number in range(10_001))), "no kind"),
    ],
)
def test_everything_else_is_refused_with_the_reason(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(MediaTypeError) as refusal:
        recognise(content, name)
    assert reason in refusal.value.message


def test_a_character_that_lies_across_two_chunks_is_whole() -> None:
    assert recognise(b"a" * (64 * 1024 - 1) + "€".encode(), "a.txt") == "txt"


@given(st.binary(max_size=300), st.sampled_from(["a", "a.txt", "a.vcf", "a.docx"]))
def test_no_bytes_do_harm(content: bytes, name: str) -> None:
    with suppress(MediaTypeError):
        recognise(content, name)


@given(st.sampled_from(list(FILES.values())), st.integers(0, 400), st.integers(0, 255))
def test_no_damaged_file_does_harm(content: bytes, at: int, value: int) -> None:
    at %= len(content)
    with suppress(MediaTypeError):
        recognise(content[:at] + bytes([value]) + content[at + 1 :])
