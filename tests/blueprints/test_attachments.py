"""Attachments over HTTP: from the form to the bytes that anybody can fetch."""

from __future__ import annotations

import base64
import gzip
import io
import os
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from service.app import Application
from service.core import attachments
from service.core.attachments import StoredFile
from service.core.storage import ABANDONED_AFTER
from service.models import Attachment, Broadcast, BroadcastAttachment, BroadcastStatus
from service.parts import Crier
from tests.conftest import Tenant, on_sqlite

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
TEXT = b"only text"
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": bytes,
}


def send(tenant: Tenant, content: bytes = PNG, name: str = "a.png", **fields: Any) -> Any:
    form = {"file": (io.BytesIO(content), name), **fields}
    return tenant.post("/attachment", data=form, content_type="multipart/form-data")


def stored(crier: Crier) -> list[str]:
    return [path.name for path in crier.storage.folder.rglob("*") if path.is_file()]


def rows(crier: Crier) -> list[Attachment]:
    with crier.database.reading() as db:
        return list(db.scalars(select(Attachment)))


def share(crier: Crier) -> str:
    """Make an attachment that belongs to nobody, as an operator would."""
    with crier.database.writing() as db:
        made = attachments.create(db, None, StoredFile("A" * 15, "png", "image/png", "a.png", 1))
        return made.id


def test_a_file_is_stored_and_described(acme: Tenant) -> None:
    made = send(acme, name="holiday photo.png").json["data"]
    assert made["type"] == "png"
    assert made["mimetype"] == "image/png"
    assert made["filename"] == "holiday photo.png"
    assert made["size"] == len(PNG)
    assert made["client_id"] == acme.id
    assert len(made["name"]) == 15
    assert made["url"] == f"http://localhost/public/attachments/{made['name']}.png"
    assert stored(acme.crier) == [f"{made['name']}.png"]


def test_the_public_url_is_the_operators_when_there_is_one(
    make_app: Callable[..., Application],
) -> None:
    acme = Tenant(make_app(public_url="https://crier.example/api/"), "Acme")
    made = send(acme).json["data"]
    assert made["url"] == f"https://crier.example/api/public/attachments/{made['name']}.png"


@on_sqlite
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        # As browsers on Windows escape it within the quotes.
        (r"C:\\Users\\ada\\a.png", "a.png"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("tab\there.png", "tabhere.png"),
        ("Grüße aus Lagos.png", "Grüße aus Lagos.png"),
        ("👩\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e007f.png",) * 2,
        ("می\u200cخو.png",) * 2,
        ("\u200da\u2066b\u200e.png", "ab.png"),
        ("n" * 400 + ".png", "n" * 251 + ".png"),
    ],
)
def test_a_files_name_is_cleaned(acme: Tenant, given: str, kept: str) -> None:
    assert send(acme, name=given).json["data"]["filename"] == kept


@on_sqlite
@pytest.mark.parametrize("given", ["..", "folder/", "\u202e"])
def test_a_file_whose_name_says_nothing_gets_ours(acme: Tenant, given: str) -> None:
    made = send(acme, name=given).json["data"]
    assert made["filename"] == f"{made['name']}.png"


def test_a_line_break_is_taken_wherever_in_a_large_file_it_stands(acme: Tenant) -> None:
    content = PNG + b"\n" * 300_000
    assert send(acme, content).json["data"]["size"] == len(content)


@pytest.mark.parametrize(
    ("content", "name", "status"),
    [
        (b'<svg onload="alert(1)"/>', "photo.jpeg", 415),
        (b"MZ" + bytes(200), "photo.jpeg", 415),
        (b"", "photo.jpeg", 422),
    ],
)
def test_what_is_refused_leaves_no_row_and_no_file(
    acme: Tenant, content: bytes, name: str, status: int
) -> None:
    answer = send(acme, content, name)
    assert answer.status_code == status
    assert list(answer.json["errors"]) == ["file"]
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


@pytest.mark.parametrize("excess", [1, 200_000])
def test_a_file_beyond_the_limit_is_refused(
    make_app: Callable[..., Application], excess: int
) -> None:
    acme = Tenant(make_app(max_attachment_bytes=len(PNG)), "Acme")
    assert send(acme, PNG + bytes(excess)).status_code == 413
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])
    assert send(acme, PNG).status_code == 201


def as_url(content: bytes, kind: str = "image/png", coding: str = ";base64") -> str:
    return f"data:{kind}{coding},{base64.b64encode(content).decode()}"


URL_SAFE = f"data:;base64,{base64.urlsafe_b64encode(PNG).decode().rstrip('=')}"


@on_sqlite
@pytest.mark.parametrize(
    ("document", "content", "filename"),
    [
        ({"file": as_url(PNG), "filename": "a b.png"}, PNG, "a b.png"),
        ({"file": as_url(PNG), "filename": ""}, PNG, None),
        ({"file": as_url(PNG, coding=";name=cake%20one.png;base64")}, PNG, "cake one.png"),
        ({"file": as_url(PNG, "")}, PNG, None),
        ({"file": URL_SAFE}, PNG, None),
        ({"file": "data:image/png;base64,\n" + base64.encodebytes(PNG).decode()}, PNG, None),
        ({"file": "data:,Hello%2C%20you", "filename": "a.txt"}, b"Hello, you", "a.txt"),
        ({"file": as_url(b"Hello", "text/plain")}, b"Hello", "text.txt"),
        ({"file": as_url(b"a,b", "text/csv", ";charset=utf-8;base64")}, b"a,b", "text.csv"),
    ],
)
def test_a_data_url_is_stored_as_an_upload_is(
    acme: Tenant, document: dict[str, str], content: bytes, filename: str | None
) -> None:
    made = acme.make("/attachment", **document)
    assert made["filename"] == filename or (filename is None and made["filename"].endswith(".png"))
    assert acme.get(made["path"].removeprefix(".")).data == content


@on_sqlite
@pytest.mark.parametrize(
    ("document", "status", "field"),
    [
        ({}, 422, "file"),
        ({"file": 5}, 422, "file"),
        ({"file": "iVBORw0"}, 422, "file"),
        ({"file": "data:image/png;base64"}, 422, "file"),
        ({"file": "data:image/png;base64,?"}, 422, "file"),
        ({"file": "data:image/png;base64,abcde"}, 422, "file"),
        ({"file": "data:image/png;base64,"}, 422, "file"),
        ({"file": as_url(PNG), "filename": 5}, 422, "filename"),
        ({"file": as_url(PNG), "name": "a.png"}, 422, "name"),
        ({"file": as_url(b"MZ" + bytes(100))}, 415, "file"),
    ],
)
def test_a_data_url_that_is_wrong_is_refused_and_leaves_nothing(
    acme: Tenant, document: dict[str, object], status: int, field: str
) -> None:
    answer = acme.post("/attachment", json=document)
    assert answer.status_code == status
    assert list(answer.json["errors"]) == [field]
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


def test_the_limit_of_a_file_holds_for_a_data_url(make_app: Callable[..., Application]) -> None:
    acme = Tenant(make_app(max_attachment_bytes=len(PNG), max_body_bytes=10), "Acme")
    assert acme.post("/attachment", json={"file": as_url(PNG)}).status_code == 201
    assert acme.post("/attachment", json={"file": as_url(PNG + b"x")}).status_code == 413
    assert acme.post("/attachment", json={"file": as_url(bytes(200_000))}).status_code == 413
    assert len(rows(acme.crier)) == len(stored(acme.crier)) == 1


def test_a_stranger_has_no_data_url_decoded(acme: Tenant) -> None:
    for token, status in ((acme.token, 201), ("crier_wrong", 401)):
        document = {"file": as_url(PNG), "access_token": token}
        answer = acme.post("/attachment", json=document, headers={"Authorization": ""})
        assert answer.status_code == status


def test_a_form_that_breaks_off_is_refused_and_leaves_nothing(acme: Tenant) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    for body in (head + PNG, b"nonsense", b""):
        answer = acme.post("/attachment", data=body, content_type="multipart/form-data; boundary=x")
        assert answer.status_code in {400, 422}
    no_boundary = acme.post("/attachment", data=head, content_type="multipart/form-data")
    assert no_boundary.status_code == 400
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


@on_sqlite
@pytest.mark.parametrize(
    ("disposition", "status", "field", "advice"),
    [
        (b'name="file"; filename="Gr\xfc\xdfe.png"', 400, "file", "is not UTF-8"),
        (b'name="file"; filename="a\r\nb.png"', 422, "file", "on one line"),
        (b'name="file"; filename="a\nb.png"', 422, "file", "on one line"),
        (b'name="file"', 422, "file", "with a file name"),
        (b'filename="a.png"', 400, "body", "has no name"),
        (b'x="y"', 400, "body", "has no name"),
    ],
)
def test_a_part_whose_head_is_odd_is_refused_with_what_to_do(
    acme: Tenant, disposition: bytes, status: int, field: str, advice: str
) -> None:
    answer = post_part(acme, disposition, PNG)
    assert answer.status_code == status
    [(named, [sentence])] = answer.json["errors"].items()
    assert (named, advice in sentence) == (field, True)
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


def test_a_large_file_without_a_name_is_told_that_it_needs_one(acme: Tenant) -> None:
    answer = post_part(acme, b'name="file"; filename="a\r\nb.png"', PNG + bytes(200_000))
    assert answer.status_code == 413
    assert "needs a file name on one line" in answer.json["errors"]["file"][0]
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


def post_part(tenant: Tenant, disposition: bytes, content: bytes, encoding: str = "") -> Any:
    """Send a form of one part, byte by byte, as no client library would write it."""
    head = b"--x\r\nContent-Disposition: form-data; " + disposition
    body = PACKED[encoding](head + b"\r\n\r\n" + content + b"\r\n--x--\r\n")
    headers = {"Content-Encoding": encoding, "Authorization": f"Bearer {tenant.token}"}
    kind = "multipart/form-data; boundary=x"
    return tenant.post("/attachment", data=body, content_type=kind, headers=headers)


@on_sqlite
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_a_packed_form_is_unpacked(acme: Tenant, encoding: str) -> None:
    answer = post_part(acme, b'name="file"; filename="a.png"', PNG, encoding)
    assert answer.status_code == 201, answer.text
    assert answer.json["data"]["size"] == len(PNG)


def test_a_form_that_is_packed_otherwise_is_refused_in_words(acme: Tenant) -> None:
    answer = post_part(acme, b'name="file"; filename="a.png"', PNG, "br")
    assert answer.status_code == 415
    assert "Unsupported Content-Encoding br: use gzip, deflate" in answer.json["message"]


def test_the_limit_of_a_file_holds_for_what_comes_out_of_a_packed_form(
    make_app: Callable[..., Application],
) -> None:
    acme = Tenant(make_app(max_attachment_bytes=1_000), "Acme")
    for size in (1_001, 10_000_000):
        answer = post_part(acme, b'name="file"; filename="a.png"', PNG + bytes(size), "gzip")
        assert answer.status_code == 413
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


def test_the_bytes_of_a_file_are_no_body(acme: Tenant) -> None:
    answer = acme.post("/attachment", data=PNG[:8], content_type="image/png")
    assert answer.status_code == 415
    assert "Send JSON or a form. image/png is not supported" in answer.json["message"]


@on_sqlite
@pytest.mark.parametrize(
    ("texts", "files"),
    [
        ({"caption": "hi"}, {"file": ["a.png"]}),
        ({}, {"file": ["a.png"], "other": ["b.png"]}),
        ({}, {"file": ["a.png", "b.png"]}),
        ({}, {"other": ["b.png"]}),
        ({"file": "as text"}, {}),
        ({}, {}),
    ],
)
def test_a_form_with_anything_else_in_it_is_refused(
    acme: Tenant, texts: dict[str, str], files: dict[str, list[str]]
) -> None:
    named = {field: [(io.BytesIO(PNG), name) for name in names] for field, names in files.items()}
    form = {**texts, **named}
    answer = acme.post("/attachment", data=form, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert (rows(acme.crier), stored(acme.crier)) == ([], [])


def test_a_form_may_carry_the_credentials(acme: Tenant) -> None:
    form = {"file": (io.BytesIO(PNG), "a.png"), "access_token": acme.token, "session_id": ""}
    answer = acme.post("/attachment", data=form, headers={"Authorization": ""})
    assert answer.status_code == 201


@pytest.mark.parametrize(("names", "status"), [("tf", 201), ("ft", 401)])
def test_a_token_in_a_form_comes_before_the_file(acme: Tenant, names: str, status: int) -> None:
    """Nothing of a stranger's is parsed, nor written to the disk."""
    token = b'Content-Disposition: form-data; name="access_token"\r\n\r\n' + acme.token.encode()
    file = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + PNG
    parts = {"t": token, "f": file + bytes(200_000)}
    body = b"".join(b"--x\r\n" + parts[name] + b"\r\n" for name in names) + b"--x--\r\n"
    kind, nobody = "multipart/form-data; boundary=x", {"Authorization": ""}
    answer = acme.post("/attachment", data=body, content_type=kind, headers=nobody)
    assert answer.status_code == status
    assert acme.crier.storage.folder.exists() == (status == 201)


def test_a_form_may_say_each_thing_once(acme: Tenant) -> None:
    form = {"file": (io.BytesIO(PNG), "a.png"), "session_id": ["", ""]}
    answer = acme.post("/attachment", data=form, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["session_id"]


def test_a_file_without_a_valid_token_is_not_kept(acme: Tenant) -> None:
    form = {"file": (io.BytesIO(PNG), "a.png"), "access_token": "crier_wrong"}
    assert acme.post("/attachment", data=form, headers={"Authorization": ""}).status_code == 401
    assert stored(acme.crier) == []


@pytest.mark.parametrize("path", ["/attachment", "/attachment?access_token=crier_wrong"])
def test_a_wrong_token_outside_of_the_form_is_refused_before_any_of_it_is_kept(
    acme: Tenant, path: str
) -> None:
    form = {"file": (io.BytesIO(PNG), "a.png"), "access_token": acme.token}
    headers = {"Authorization": "" if "?" in path else "Bearer crier_wrong"}
    assert acme.post(path, data=form, headers=headers).status_code == 401
    # The folder is made for the first file that comes in.
    assert not acme.crier.storage.folder.exists()


def test_shared_attachments_are_seen_by_all_and_deleted_by_none(
    acme: Tenant, globex: Tenant
) -> None:
    shared = share(acme.crier)
    mine = send(acme).json["data"]["_id"]
    assert [each["_id"] for each in acme.get("/attachment").json["data"]] == [shared, mine]
    assert [each["_id"] for each in globex.get("/attachment").json["data"]] == [shared]
    answer = globex.get(f"/attachment/{shared}")
    assert "client_id" not in answer.json["data"]
    refusal = acme.delete(f"/attachment/{shared}")
    assert refusal.status_code == 403
    assert "share this" in refusal.json["message"]


def test_deleting_takes_the_bytes_as_well(acme: Tenant) -> None:
    made = send(acme).json["data"]
    answer = acme.delete(f"/attachment/{made['_id']}")
    assert answer.json == {
        "status": True,
        "message": "Attachment deleted successfully!",
        "data": made,
    }
    assert stored(acme.crier) == []
    assert acme.get(made["path"].removeprefix(".")).status_code == 404
    assert acme.delete(f"/attachment/{made['_id']}").status_code == 404


def broadcast_with(tenant: Tenant, attachment_id: str) -> str:
    if not tenant.get("/session").json["data"]:
        tenant.make("/session", name="main", channel="sandbox")
    message = {"attachments": [attachment_id]}
    made = tenant.make("/broadcast", send_type="individual", to="2348179803743", message=message)
    return str(made["_id"])


def finish(crier: Crier, broadcast_id: str, status: BroadcastStatus, closed: int | None) -> None:
    """Put a broadcast where the dispatcher would bring it."""
    with crier.database.writing() as db:
        broadcast = db.get_one(Broadcast, broadcast_id)
        broadcast.status, broadcast.closed_at = status, closed


def test_an_unfinished_broadcast_keeps_its_attachments(acme: Tenant) -> None:
    made = send(acme).json["data"]["_id"]
    broadcast = broadcast_with(acme, made)
    refusal = acme.delete(f"/attachment/{made}")
    assert refusal.status_code == 409
    wanted = f"Broadcast '{broadcast}' needs this attachment until it is completed or deleted."
    assert refusal.json["message"] == wanted
    assert len(stored(acme.crier)) == 1
    acme.delete(f"/broadcast/{broadcast}")
    refusal = acme.delete(f"/attachment/{made}")
    assert refusal.status_code == 409
    for words in (f"Broadcast '{broadcast}' was deleted", "Try again in some seconds"):
        assert words in refusal.json["message"]
    finish(acme.crier, broadcast, BroadcastStatus.CANCELLED, 1)
    assert acme.delete(f"/attachment/{made}").status_code == 200


def test_one_unfinished_broadcast_among_finished_ones_is_enough(acme: Tenant) -> None:
    made = send(acme).json["data"]["_id"]
    done, going_on = broadcast_with(acme, made), broadcast_with(acme, made)
    finish(acme.crier, done, BroadcastStatus.COMPLETED, 1)
    assert acme.delete(f"/attachment/{made}").status_code == 409
    with acme.crier.database.reading() as db:
        uses = db.scalars(select(BroadcastAttachment.broadcast_id)).all()
    assert set(uses) == {done, going_on}


def test_the_bytes_are_served_to_anybody_for_good_and_never_run(acme: Tenant) -> None:
    made = send(acme).json["data"]
    path = made["path"].removeprefix(".")
    answer = acme.get(path, headers={"Authorization": ""})
    assert answer.data == PNG
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Disposition"].startswith("inline")
    again = acme.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_what_a_browser_would_show_as_a_document_is_offered_as_a_download(acme: Tenant) -> None:
    made = send(acme, TEXT, "notes.txt").json["data"]
    answer = acme.get(made["path"].removeprefix("."))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_ranges_are_served(acme: Tenant) -> None:
    path = send(acme).json["data"]["path"].removeprefix(".")
    part = acme.get(path, headers={"Range": "bytes=8-15"})
    assert (part.status_code, part.data) == (206, PNG[8:16])
    assert part.headers["Content-Range"] == f"bytes 8-15/{len(PNG)}"
    several = acme.get(path, headers={"Range": "bytes=0-0,2-3"})
    assert (several.status_code, several.data) == (200, PNG)
    beyond = acme.get(path, headers={"Range": "bytes=9999-"})
    assert beyond.status_code == 416
    assert beyond.json["status"] is False
    assert beyond.headers["Content-Range"] == f"bytes */{len(PNG)}"


@on_sqlite
@pytest.mark.parametrize(
    "file", ["incoming", "..%2fcrier.db", "%2e%2e/secret.key", "AAAAAAAAAAAAAAA.exe", "a%00.png"]
)
def test_nothing_else_is_served(acme: Tenant, file: str) -> None:
    send(acme)
    assert acme.get(f"/public/attachments/{file}").status_code == 404


def test_what_nobody_has_is_not_called_anybodys(acme: Tenant) -> None:
    file, nowhere = f"{'A' * 15}.png", "0" * 24
    missing = acme.get(f"/public/attachments/{file}").json
    assert missing["message"] == f"There is no file '{file}'."
    for answer in (acme.get(f"/webhook/{nowhere}"), acme.post(f"/webhook/{nowhere}")):
        assert answer.status_code == 404
        assert answer.json["message"] == f"There is no webhook '{nowhere}'."


def test_a_sweep_removes_files_without_rows_only(acme: Tenant) -> None:
    made = send(acme).json["data"]
    orphan = acme.crier.storage.path(f"{'B' * 15}.png")
    orphan.write_bytes(PNG)
    long_ago = time.time() - ABANDONED_AFTER - 60
    for name in stored(acme.crier):
        os.utime(acme.crier.storage.path(name), (long_ago, long_ago))
    with acme.crier.database.reading() as db:
        assert attachments.sweep(db, acme.crier.storage, now=time.time()) == 1
    assert stored(acme.crier) == [f"{made['name']}.png"]
