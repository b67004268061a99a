"""People send files with their replies: sessions that want them keep them as attachments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.app import Application
from service.core import retention
from service.database import now_ms
from tests.acceptance.test_opting_out import written
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser
from tests.provider import SILENCE, Fault, Provider, Request, instead
from tests.sending import PICTURE, QUICK, Sending
from tests.waiting import until
from tests.world import ADA

PDF = b"%PDF-1.7 " + b"page" * 1_000
KEEPS = {"keep_files": True}
SCRIPT = "<script>alert('x')</script>"


def picture(media_id: str, message_id: str = "wamid.in", kind: str = "image", **more: Any) -> bytes:
    """Return Meta's webhook of a file that Ada sent."""
    file = {"id": media_id, "mime_type": "image/jpeg", "sha256": "x", **more}
    content: dict[str, Any] = {"type": kind, kind: file}
    return written("", message_id, **content)


def of_waha(url: str | None, **more: Any) -> bytes:
    """Return WAHA's webhook of a file that Ada sent."""
    media = {"url": url, "mimetype": "application/pdf", "filename": None, **more}
    payload = {
        "id": f"false_{ADA}@c.us_AAAA",
        "from": f"{ADA}@c.us",
        "body": "Here",
        "hasMedia": True,
        "media": media,
    }
    return json.dumps({"event": "message", "session": "default", "payload": payload}).encode()


def told(sending: Sending, session: dict[str, Any], body: bytes) -> None:
    assert sending.report(session, body).status_code == 200


def reply(sending: Sending) -> dict[str, Any]:
    """Return the one reply."""
    (shown,) = sending.client.get("/reply").json["data"]
    found: dict[str, Any] = shown
    return found


def kept(sending: Sending) -> dict[str, Any]:
    """Wait for the file of the reply, and return its attachment."""
    until(lambda: reply(sending)["attachment_id"])
    return sending.get(f"/attachment/{reply(sending)['attachment_id']}")


def content(sending: Sending, attachment: dict[str, Any]) -> bytes:
    path = f"/public/attachments/{attachment['name']}.{attachment['type']}"
    data: bytes = sending.client.get(path).data
    return data


def test_a_picture_is_fetched_from_meta_and_kept_with_its_reply(sending: Sending) -> None:
    session = sending.session(settings=KEEPS)
    sending.provider.files["/files/4711"] = PICTURE
    told(sending, session, picture("4711", caption="Look"))
    with sending.running():
        attachment = kept(sending)
    assert (attachment["type"], attachment["size"]) == ("jpeg", len(PICTURE))
    assert content(sending, attachment) == PICTURE
    assert (reply(sending)["text"], reply(sending)["file_problem"]) == ("Look", None)
    asked, fetched = (each for each in sending.provider.requests if "4711" in each.path)
    assert asked.query == {"phone_number_id": [session["settings"]["phone_number_id"]]}
    assert fetched.headers["authorization"] == "Bearer EAAG-token"
    gone = sending.client.delete(f"/attachment/{attachment['_id']}")
    assert (gone.status_code, reply(sending)["attachment_id"]) == (200, None)


def test_a_file_of_waha_is_fetched_from_the_server_of_the_session(sending: Sending) -> None:
    session = sending.session("waha", settings=KEEPS)
    sending.provider.files["/api/files/default/AAAA.pdf"] = PDF
    told(sending, session, of_waha("http://localhost:3000/api/files/default/AAAA.pdf"))
    with sending.running():
        attachment = kept(sending)
    assert (attachment["type"], content(sending, attachment)) == ("pdf", PDF)
    (fetched,) = [each for each in sending.provider.requests if "/files/" in each.path]
    assert fetched.headers["x-api-key"] == "waha-key"


def test_nothing_is_fetched_unless_the_session_asks_for_it(sending: Sending) -> None:
    session = sending.session()
    sending.provider.files["/files/4711"] = PICTURE
    with sending.running():
        sending.await_completed(sending.broadcast([ADA], session))
        told(sending, session, picture("4711"))
        until(lambda: reply(sending)["broadcast_id"])
    shown = reply(sending)
    assert (shown["kind"], shown["attachment_id"], shown["file_problem"]) == ("image", None, None)
    assert [each for each in sending.provider.requests if "4711" in each.path] == []


@on_sqlite
@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"<html><script>", "HTML, SVG and XML files are not supported, whatever their name."),
        (b"\x7fELF" + bytes(100), "Unsupported file type"),
        (PICTURE * 20, "The file has more than 50,000 bytes."),
        (b"", "This file is empty."),
        (None, "Unsupported get request."),
    ],
)
def test_what_cannot_be_kept_has_a_reason(
    make_app: Callable[..., Application], provider: Provider, file: bytes | None, problem: str
) -> None:
    sending = Sending(make_app(**QUICK, max_attachment_bytes=50_000), provider)
    session = sending.session(settings=KEEPS)
    if file is not None:
        sending.provider.files["/files/4711"] = file
    told(sending, session, picture("4711"))
    with sending.running():
        until(lambda: reply(sending)["file_problem"])
    assert reply(sending)["file_problem"].startswith(problem)
    assert reply(sending)["attachment_id"] is None
    assert list(sending.crier.storage.folder.glob("*.*")) == []
    assert list((sending.crier.storage.folder / "incoming").glob("*")) == []


def test_a_client_without_room_keeps_no_files(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    sending = Sending(make_app(**QUICK, limit_bytes=1_000), provider)
    session = sending.session(settings=KEEPS)
    sending.provider.files["/files/4711"] = PICTURE
    told(sending, session, picture("4711"))
    with sending.running():
        until(lambda: reply(sending)["file_problem"])
    assert "1,000" in reply(sending)["file_problem"]
    assert list(sending.crier.storage.folder.glob("*.*")) == []


@on_sqlite
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "WAHA did not download the file."),
        ("file:///etc/passwd", "WAHA did not download the file."),
        ("http://127.0.0.1:1/api/files/x.pdf", ""),
        ("http://127.0.0.1:1/api/files/../sessions", "The provider could not be reached"),
    ],
)
def test_a_key_goes_to_wahas_own_files_alone(
    sending: Sending, url: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.core.inbound_files.MOST_ATTEMPTS", 1)
    session = sending.session("waha", settings=KEEPS)
    sending.provider.files["/api/files/x.pdf"] = PDF
    told(sending, session, of_waha(url))
    with sending.running():
        until(lambda: reply(sending)["file_problem"] or reply(sending)["attachment_id"])
    assert (reply(sending)["file_problem"] or "").startswith(problem)
    assert bool(reply(sending)["attachment_id"]) == (problem == "")
    assert [each for each in sending.provider.requests if each.path == "/api/sessions"] == []


def test_a_private_address_is_not_called(
    make_app: Callable[..., Application], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.core.inbound_files.MOST_ATTEMPTS", 1)
    sending = Sending(make_app(**{**QUICK, "private_addresses": False}), provider)
    session = sending.session("waha", settings={**KEEPS, "base_url": "http://127.0.0.1:1"})
    told(sending, session, of_waha("http://169.254.169.254/latest"))
    with sending.running():
        until(lambda: reply(sending)["file_problem"])
    assert reply(sending)["file_problem"].startswith("169.254.169.254 is a private address.")


def test_those_that_never_answer_keep_nobody_elses_file_waiting(sending: Sending) -> None:
    def silent(request: Request) -> Fault | None:
        return SILENCE if "/files/slow" in request.path else None

    sending.provider.choose = silent
    for place in range(3):
        slow = sending.session("waha", name=f"slow {place}", settings=KEEPS)
        for number in range(3):
            body = of_waha(f"http://x/api/files/slow/{number}.pdf")
            told(sending, slow, body.replace(b"AAAA", f"A{place}{number}".encode()))
    other = Sending(sending.app, sending.provider, "Globex")
    quick = other.session(settings=KEEPS)
    sending.provider.files["/files/4711"] = PICTURE
    told(other, quick, picture("4711"))
    with sending.running():
        kept(other)
        slow_ones = [each for each in sending.provider.requests if "/files/slow" in each.path]
        assert len(slow_ones) == 4


def test_a_failure_is_tried_again(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.core.inbound_files._FIRST_WAIT", 10)
    session = sending.session(settings=KEEPS)
    sending.provider.files["/files/4711"] = PICTURE
    failures = [instead(503), instead(500), None]

    def choose(request: Request) -> Fault | None:
        return failures.pop(0) if request.path == "/files/4711" else None

    sending.provider.choose = choose
    told(sending, session, picture("4711"))
    with sending.running():
        assert kept(sending)["type"] == "jpeg"
    assert failures == []


def test_the_files_of_purged_replies_go_unless_a_broadcast_uses_them(sending: Sending) -> None:
    session = sending.session(settings=KEEPS)
    for number in ("1", "2"):
        sending.provider.files[f"/files/{number}"] = PICTURE
        told(sending, session, picture(number, f"wamid.{number}"))
    with sending.running():
        until(lambda: len(sending.client.get("/attachment").json["data"]) == 2)
        first, _ = sending.client.get("/attachment").json["data"]
        sending.await_completed(sending.broadcast([ADA], session, attachments=[first["_id"]]))
    with sending.crier.database.writing() as db:
        assert retention.forget_replies(db, before=now_ms() + 1, limit=10) == 2
    left = sending.client.get("/attachment").json["data"]
    assert [each["_id"] for each in left] == [first["_id"]]


def test_a_file_of_a_reply_is_shown_and_downloaded(sending: Sending) -> None:
    session = sending.session(settings=KEEPS)
    sending.provider.files["/files/4711"] = PICTURE
    with sending.running():
        broadcast_id = sending.broadcast([ADA], session)
        sending.await_completed(broadcast_id)
        told(sending, session, picture("4711", caption=SCRIPT))
        until(lambda: reply(sending)["broadcast_id"])
        attachment = kept(sending)
    path = f"/public/attachments/{attachment['name']}.{attachment['type']}"
    visitor, stranger = ConsoleUser(sending.client), ConsoleUser(Tenant(sending.app, "Globex"))
    history = f"/deliveries/{reply(sending)['delivery_id']}"
    of_broadcast = f"/replies?broadcast={broadcast_id}"
    for page in ("/replies", of_broadcast, f"/replies?q=%2B{ADA}", "/replies?q=ALERT", history):
        shown = visitor.get(page).text
        assert f'<img src="{path}"' in shown, page
        assert f'href="{path}" download=' in shown, page
        assert "&lt;script&gt;alert" in shown, page
        assert "<script>alert" not in shown, page
    assert "No reply matches" in visitor.get("/replies?q=nothing").text
    assert of_broadcast in visitor.get(f"/broadcasts/{broadcast_id}").text
    assert "Nobody has replied yet" in stranger.get("/replies").text
    assert stranger.get(of_broadcast).status_code == 404
    assert "No reply matches" in stranger.get(f"/replies?q={ADA}").text


def test_a_file_that_was_not_kept_and_one_on_its_way_are_told(sending: Sending) -> None:
    session = sending.session(settings=KEEPS)
    told(sending, session, picture("4711"))
    visitor = ConsoleUser(sending.client)
    assert "Its file is being fetched." in visitor.get("/replies").text
    sending.provider.files["/files/4711"] = b"<html><script>"
    with sending.running():
        until(lambda: reply(sending)["file_problem"])
    assert "Its file was not kept:" in visitor.get("/replies").text
    told(sending, session, written("STOP", "wamid.stop"))
    assert "Opted out" in visitor.get("/replies?q=stop").text
