"""The guide's own requests, as it prints them, and answers in its own form."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from tests.conftest import Tenant

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)
EMPTY = '{\n"session_id": "",\n"access_token": ""\n}'
FORM = "application/x-www-form-urlencoded"


def as_printed(tenant: Tenant, method: str, path: str, body: str = EMPTY) -> Any:
    """Send what curl makes of the guide's lines: JSON that claims to be a form."""
    return tenant.ask(method, path, data=body, content_type=FORM)


def upload(tenant: Tenant) -> dict[str, Any]:
    form = {"file": (io.BytesIO(PICTURE), "holiday.png")}
    answer = tenant.post("/attachment", data=form, content_type="multipart/form-data")
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json["data"]
    return made


def order(tenant: Tenant) -> dict[str, Any]:
    """Return the guide's broadcast, with ids that exist."""
    contact = tenant.make("/contact", name="Ada Obi", phones=["2348179803743"])
    return {
        "session_id": "",
        "access_token": "",
        "send_type": "individual",
        "to": "2348179803743,2349048988056",
        "message": {
            "text": "New Test Broadcasts text",
            "attachments": [upload(tenant)["_id"], upload(tenant)["_id"]],
            "location": {"name": "optional", "lat": "6.556452", "lng": "3.2774487"},
            "contactId": contact["_id"],
        },
    }


def test_get_all_lists_attachments_oldest_first_with_the_fields_in_the_guides_order(
    acme: Tenant,
) -> None:
    first, second = upload(acme), upload(acme)
    answer = as_printed(acme, "GET", "/attachment")
    assert answer.status_code == 200
    assert list(answer.json) == ["status", "message", "data"]
    assert answer.json["status"] is True
    assert answer.json["message"] == "Attachment fetched successfully!"
    assert answer.json["data"] == [first, second]
    assert list(answer.json["data"][0])[:9] == [
        "_id",
        "type",
        "mimetype",
        "name",
        "path",
        "client_id",
        "createdAt",
        "updatedAt",
        "__v",
    ]


def test_get_one_shows_the_attachment_under_its_path(acme: Tenant) -> None:
    made = upload(acme)
    answer = as_printed(acme, "GET", f"/attachment/{made['_id']}")
    assert answer.status_code == 200
    assert answer.json == {
        "status": True,
        "message": "Attachment fetched successfully!",
        "data": made,
    }
    assert made["path"] == f"./public/attachments/{made['name']}.png"
    assert acme.get(made["path"].removeprefix(".")).data == PICTURE


def test_create_answers_what_was_asked_and_that_nothing_was_sent_yet(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    asked = order(acme)
    answer = as_printed(acme, "POST", "/broadcast", json.dumps(asked))
    assert answer.status_code == 201
    assert answer.json["message"] == "Broadcast group created successfully!"
    made = answer.json["data"]
    assert list(made)[:12] == [
        "client_id",
        "send_type",
        "to",
        "message",
        "status",
        "sent",
        "pending",
        "failed",
        "_id",
        "createdAt",
        "updatedAt",
        "__v",
    ]
    assert {name: made[name] for name in ("send_type", "to", "message")} == {
        name: asked[name] for name in ("send_type", "to", "message")
    }
    assert list(made["message"]) == ["text", "attachments", "location", "contactId"]
    assert (made["status"], made["sent"], made["pending"], made["failed"]) == (
        "sending",
        [],
        [],
        [],
    )
    assert made["client_id"] == acme.id
    assert made["__v"] == 0


def test_delete_answers_with_the_deleted_broadcast_and_then_it_is_gone(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    made = acme.make("/broadcast", **order(acme))
    answer = as_printed(acme, "DELETE", f"/broadcast/{made['_id']}")
    assert answer.status_code == 200
    assert answer.json["message"] == "Broadcast deleted successfully!"
    assert answer.json["data"]["_id"] == made["_id"]
    assert as_printed(acme, "GET", f"/broadcast/{made['_id']}").status_code == 404
    assert as_printed(acme, "GET", "/broadcast").json["data"] == []


def test_a_token_in_the_body_does_in_place_of_the_header(acme: Tenant, tmp_path: Path) -> None:
    del tmp_path
    body = json.dumps({"session_id": "", "access_token": acme.token})
    answer = acme.ask(
        "GET", "/broadcast", data=body, content_type=FORM, headers={"Authorization": ""}
    )
    assert answer.status_code == 200
