"""The five requests of the guide, by curl as they are printed there, against a running service."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from service.config import Settings
from service.core import contacts, tokens
from service.core.tokens import Scope
from service.database import Database
from service.models import Attachment
from tests.serving import ROOT, Server, running
from tests.waiting import until
from tests.world import World

CREDENTIALS = """{
"session_id": "",
"access_token": ""
}"""
GET_ALL = f"curl --location --request GET '/attachment' \\\n--data '{CREDENTIALS}'"
GET_ONE = f"curl --location --request GET '/attachment/%(id)s' \\\n--data '{CREDENTIALS}'"
DELETE = f"curl --location --request DELETE '/broadcast/%(id)s' \\\n--data '{CREDENTIALS}'"
CREATE = """curl --location '/broadcast' \\
--data '{
"session_id": "",
"access_token": "",
"send_type": "individual",
"to": "2348179803743,2349048988056",
"message": {
"text": "New Test Broadcasts text",
"attachments": [
"%(first)s",
"%(second)s"
],
"location": {
"name": "optional",
"lat": "6.556452",
"lng": "3.2774487"
},
"contactId": "%(contact)s"
}
}'"""

ID = "[0-9a-f]{24}"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Shell:
    """Somebody who pastes the guide's lines, with the host and the bearer header added."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self._token = token

    def paste(self, printed: str, **ids: str) -> dict[str, Any]:
        words = shlex.split((printed % ids if ids else printed).replace("\\\n", ""))
        path = next(word for word in words if word.startswith("/"))
        words[words.index(path)] = f"{self._server.address}{path}"
        return self._run([*words, "--header", f"Authorization: Bearer {self._token}"])

    def upload(self, picture: str) -> str:
        file = ROOT / "service/static/demo" / picture
        answer = self._run(
            [
                *("curl", "--form", f"file=@{file}", f"{self._server.address}/attachment"),
                *("--header", f"Authorization: Bearer {self._token}"),
            ]
        )
        return str(answer["data"]["_id"])

    def _run(self, words: list[str]) -> dict[str, Any]:
        quiet = [words[0], "--silent", "--show-error", "--noproxy", "*", *words[1:]]
        done = subprocess.run(quiet, check=True, stdout=subprocess.PIPE)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    world = World(settings, database)
    world.session()
    return world


@pytest.fixture
def shell(world: World) -> Iterator[Shell]:
    with world.database.writing() as db:
        _, token = tokens.create(db, world.client_id, "test", [Scope.SEND])
    server = Server(world.settings)
    with running(server):
        yield Shell(server, token)


def test_the_guides_requests_are_answered_as_the_guide_says(world: World, shell: Shell) -> None:
    shared = share_an_attachment(world)
    first, second = shell.upload("evening.jpeg"), shell.upload("crier.png")

    listed = shell.paste(GET_ALL)
    assert list(listed) == ["status", "message", "data"]
    assert (listed["status"], listed["message"]) == (True, "Attachment fetched successfully!")
    assert [each["_id"] for each in listed["data"]] == [shared, first, second]
    nobodys, mine, _ = listed["data"]
    assert in_the_guides_order(nobodys, without="client_id")
    assert in_the_guides_order(mine)
    assert mine["client_id"] == world.client_id
    assert (mine["type"], mine["mimetype"], mine["__v"]) == ("jpeg", "image/jpeg", 0)
    assert re.fullmatch("[A-Z0-9]{15}", mine["name"])
    assert mine["path"] == f"./public/attachments/{mine['name']}.jpeg"
    assert re.fullmatch(MOMENT, mine["createdAt"])
    assert mine["updatedAt"] == mine["createdAt"]

    fetched = shell.paste(GET_ONE, id=first)
    assert fetched == {
        "status": True,
        "message": "Attachment fetched successfully!",
        "data": mine,
    }

    contact = make_contact(world)
    created = shell.paste(CREATE, first=first, second=second, contact=contact)
    assert list(created) == ["status", "message", "data"]
    assert created["status"] is True
    assert created["message"] == "Broadcast group created successfully!"
    data = created["data"]
    assert list(data)[:11] == [
        *("client_id", "send_type", "to", "message", "status", "sent", "pending", "failed"),
        *("_id", "createdAt", "updatedAt"),
    ]
    assert {name: data[name] for name in list(data)[:8]} == {
        "client_id": world.client_id,
        "send_type": "individual",
        "to": "2348179803743,2349048988056",
        "message": {
            "text": "New Test Broadcasts text",
            "attachments": [first, second],
            "location": {"name": "optional", "lat": "6.556452", "lng": "3.2774487"},
            "contactId": contact,
        },
        "status": "sending",
        "sent": [],
        "pending": [],
        "failed": [],
    }
    assert list(data["message"]) == ["text", "attachments", "location", "contactId"]
    assert re.fullmatch(ID, data["_id"])
    assert re.fullmatch(MOMENT, data["createdAt"])
    assert data["updatedAt"] == data["createdAt"]
    assert data["__v"] == 0

    world.await_status(data["_id"], "completed")
    # Two people, each of whom gets a text, two files, a place and a card.
    until(lambda: len(world.received()) == 10)
    kinds = [each["kind"] for each in world.received() if each["recipient"] == "2348179803743"]
    assert kinds == ["text", "media", "media", "location", "contactcard"]

    deleted = shell.paste(DELETE, id=data["_id"])
    assert (deleted["status"], deleted["message"]) == (True, "Broadcast deleted successfully!")
    assert deleted["data"]["_id"] == data["_id"]
    assert deleted["data"]["sent"] == ["2348179803743", "2349048988056"]
    assert shell.paste(DELETE, id=data["_id"])["status"] is False


def in_the_guides_order(attachment: dict[str, Any], without: str = "") -> bool:
    """Tell whether an attachment has the guide's fields in the guide's order, then ours."""
    fields = ["_id", "type", "mimetype", "name", "path", "client_id", "createdAt", "updatedAt"]
    expected = [field for field in [*fields, "__v"] if field != without]
    return list(attachment)[: len(expected)] == expected


def share_an_attachment(world: World) -> str:
    """Store an attachment that belongs to nobody, as an operator may."""
    described = {"type": "jpeg", "mimetype": "image/jpeg", "filename": "cake.jpeg", "size": 3}
    with world.database.writing() as db:
        attachment = Attachment(name="JCEVJKGEFKSMR8W", client_id=None, **described)
        db.add(attachment)
        db.flush()
        return attachment.id


def make_contact(world: World) -> str:
    with world.database.writing() as db:
        fields = {"name": "Ada Lovelace", "phones": ["+2348179803743"]}
        return contacts.create(db, world.client_id, fields).id
