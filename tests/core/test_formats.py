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


def ftyp(brand: str, *compatible: str) -> bytes:
    brands = "".join((brand, "\0\0\0\0", *compatible)).encode()
    return box(b"ftyp", brands)


def box(name: bytes, content: bytes = b"") -> bytes:
    return (len(content) + 8).to_bytes(4) + name + content


def film(*tracks: bytes, brand: str = "mp42") -> bytes:
    """Return an ISO base media file with tracks of these kinds, its index at the end."""
    traks = b"".join(box(b"trak", box(b"hdlr", bytes(8) + track + bytes(12))) for track in tracks)
    index = box(b"moov", box(b"mvhd", bytes(100)) + traks)
    return ftyp(brand, "isom", "mp42") + box(b"mdat", bytes(10_000)) + index


def page(stream: bytes, flags: int = 2) -> bytes:
    """Return an Ogg page that holds one packet."""
    return b"OggS\0" + bytes([flags]) + bytes(20) + bytes([1, len(stream)]) + stream


OPUS, VORBIS, THEORA = b"OpusHead\x01\x02", b"\x01vorbis" + bytes(20), b"\x80theora" + bytes(30)

FILES = {
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "gif": b"GIF89a\x01\x00\x01\x00",
    "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "3gp": b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x00\x00isom3gp4",
    "mp3": b"ID3\x03\x00\x00\x00\x00\x00\x00",
    "3g2": ftyp("3g2a", "3g2a"),
    "m4a": ftyp("M4A ", "M4A ", "mp42", "isom"),
    "ogg": page(OPUS) + page(b"OpusTags", 0),
    "oga": page(VORBIS),
    "ogv": page(THEORA) + page(VORBIS),
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


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (ftyp("M4B ", "M4A ", "mp42"), "m4a"),
        (ftyp("M4P ", "M4A "), "m4a"),
        (film(b"soun"), "m4a"),
        (film(b"soun", brand="isom"), "m4a"),
        (film(b"soun", brand="3gp4"), "3ga"),
        (film(b"soun", brand="3g2a"), "3ga"),
        (film(b"vide", b"soun", brand="3gp4"), "3gp"),
        (film(b"vide", b"soun"), "mp4"),
        (film(b"soun", b"vide", brand="M4V "), "mp4"),
        (ftyp("dash", "iso6"), "mp4"),
        (ftyp("mp42", "M4A ", "mp42"), "mp4"),
        (ftyp("f4v ", "isom"), "mp4"),
    ],
)
def test_an_iso_media_file_is_told_by_its_brand_and_its_tracks(content: bytes, kind: str) -> None:
    assert recognise(content) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (page(b"\x7fFLAC" + bytes(20)), "oga"),
        (page(b"Speex   1.2"), "oga"),
        (page(b"fishead\0") + page(OPUS), "ogg"),
        (page(b"fishead\0") + page(OPUS) + page(THEORA), "ogv"),
        (page(OPUS) + page(VORBIS), "oga"),
    ],
)
def test_an_ogg_file_is_told_by_its_codecs(content: bytes, kind: str) -> None:
    assert recognise(content) == kind


def test_only_opus_is_sound_to_channels() -> None:
    kinds = {name: formats.FORMATS[name].mimetype for name in ("ogg", "oga", "ogv", "m4a")}
    assert kinds == {
        "ogg": "audio/ogg",
        "oga": "application/ogg",
        "ogv": "video/ogg",
        "m4a": "audio/mp4",
    }


@pytest.mark.parametrize(
    "before", [b"\n", b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\n\r\n", bytes(1019)]
)
def test_a_pdf_may_begin_within_its_first_kilobyte(before: bytes) -> None:
    assert recognise(before + FILES["pdf"]) == "pdf"
    with pytest.raises(MediaTypeError):
        recognise(bytes(1020) + FILES["pdf"])


@pytest.mark.parametrize(
    "text",
    [
        "<Bilal> hello",
        "<ada@example.com>",
        "<3 you all",
        "<?php",
        "a < b",
        "<bold move>",
        "<article>",
    ],
)
def test_a_text_that_only_looks_like_markup_is_a_text(text: str) -> None:
    assert recognise(text.encode(), "a.txt") == "txt"


MARKUP = [
    b"<!DOCTYPE html><script>alert(1)</script>",
    b"\xef\xbb\xbf \r\n<HTML>",
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    b'<?xml version="1.0"?><svg/>',
    b"<!-- --><svg/>",
    b"<svg\n  xmlns='http://www.w3.org/2000/svg'>",
    b"<a href='x'>",
    b"\n\n<P>",
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
        ("a.txt", b"text" * 20_000 + b"\0", "NUL bytes"),
        ("a.vcf", b"not a card", "BEGIN:VCARD"),
        (
            "a.bin",
            b"text without an ending",
            "looks like text. Its name must end in .txt",
        ),
        ("grüße", "Grüße".encode(), "looks like text"),
        ("a.exe", b"MZ\x90\x00" + bytes(100), "Unsupported file type"),
        (
            "a.heic",
            ftyp("heic", "mif1", "heic"),
            "HEIC images are not supported. Save it as JPEG",
        ),
        ("a.heic", ftyp("mif1", "heic"), "Save it as JPEG"),
        (
            "a.avif",
            ftyp("avif", "mif1", "miaf"),
            "AVIF images are not supported. Save it as JPEG or PNG",
        ),
        (
            "a.cr3",
            ftyp("crx ", "crx ", "isom"),
            "Raw camera images (CR3) are not supported. Export it as JPEG",
        ),
        ("a.mov", ftyp("qt  ", "qt  "), "QuickTime video (MOV) is not supported. Export it as MP4"),
        ("a.mov", box(b"wide") + box(b"mdat", b"x"), "QuickTime video (MOV)"),
        ("a.mp4", ftyp("xxxx", "yyyy"), "Unsupported file type"),
        ("a.ogg", page(b"unknown!"), "Unsupported file type"),
        ("a.txt", "Grüße".encode("utf-16"), "This one is UTF-16. Save it as UTF-8"),
        ("a.csv", "a;b".encode("utf-16-le"), "If it is UTF-16: Save it as UTF-8"),
        ("a.docx", office("word/document.xml", "word/vbaProject.bin"), "macros"),
        ("a.docx", office("word/document.xml", "xl/workbook.xml"), "Unsupported file type"),
        ("a.zip", office("readme"), "Unsupported file type"),
        ("a.docx", office("word/document.xml")[:-30], "Unsupported file type"),
    ],
)
def test_everything_else_is_refused_with_the_reason(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(MediaTypeError) as refusal:
        recognise(content, name)
    assert reason in refusal.value.message


def test_an_archive_of_very_many_files_is_refused() -> None:
    with pytest.raises(MediaTypeError) as refusal:
        recognise(office(*(f"word/{number}" for number in range(10_001))), "a.docx")
    assert "Unsupported file type" in refusal.value.message


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
