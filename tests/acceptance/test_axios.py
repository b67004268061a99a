"""The guide's own client, by requests that axios itself makes of what that client hands it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest

from service.core import clients, sessions, tokens
from service.core.tokens import Scope
from service.database import Database, now_ms
from tests.conftest import on_sqlite
from tests.node import needs_node, run
from tests.serving import Server, running
from tests.world import World

pytestmark = [needs_node, on_sqlite]


class Session(NamedTuple):
    """What a program configures the guide's client with."""

    session_id: str
    access_token: str


NONE = Session("", "")
TEXT = {"text": "Hello & {Hi|Hello} [name] ü +1 100%"}
LATER = "2030-01-01T09:00:00Z"


class Client:
    """The guide's client: on every request both tokens, and the document twice."""

    def __init__(self, server: Server, account: str) -> None:
        self._server = server
        self._account = account
        self.session = NONE
        self.dropped = ""

    def send(self, *calls: tuple[str, str, dict[str, Any]]) -> list[tuple[int, Any]]:
        """Send documents to addresses by verbs; return the statuses and the envelopes."""
        return self.answers([self.request(*call) for call in calls])

    def answers(self, requests: list[dict[str, Any]]) -> list[tuple[int, Any]]:
        """Let axios send requests; return the statuses and the envelopes."""
        asked = {"baseURL": f"{self._server.address}/api/v1", "requests": requests}
        answers = json.loads(run("node", "send.mjs", stdin=json.dumps(asked)))
        return [(answer["status"], answer["data"]) for answer in answers]

    def one(self, verb: str, path: str, **document: Any) -> tuple[int, Any]:
        [answer] = self.send((verb, path, document))
        return answer

    def request(self, verb: str, path: str, document: dict[str, Any]) -> dict[str, Any]:
        if self.session != NONE:
            document = {**document, **self.session._asdict()}
        headers = {"Authorization": f"Bearer {self._account}", "x-refresh": "something"}
        if not self._account:
            del headers["Authorization"]
        request = {"method": verb, "url": path, "headers": headers}
        twice = {"data": document, "params": document}
        return request | {name: twice[name] for name in twice if name != self.dropped}


@pytest.fixture
def world(settings: Any, database: Database) -> World:
    return World(settings, database)


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    server = Server(world.settings)
    with world.database.writing() as db:
        _, account = tokens.create(db, world.client_id, "test", [Scope.SEND])
    world.session()
    with running(server):
        yield Client(server, account)


def own(world: World) -> Session:
    """Make another session of the world's client and return it with its token."""
    session_id = world.session()
    with world.database.writing() as db:
        session = sessions.get(db, world.client_id, session_id)
        return Session(session_id, tokens.issue(db, session, now=now_ms()))


def strangers(world: World) -> Session:
    """Return a session of another client."""
    channels, vault = world.accounts.channels, world.vault
    wanted = {"name": "main", "channel": "sandbox", "settings": {}}
    with world.database.writing() as db:
        stranger = clients.create(db, "Globex").id
        session = sessions.create(db, stranger, wanted, channels=channels, vault=vault)
        return Session(session.id, tokens.issue(db, session, now=now_ms()))


def walk(client: Client) -> list[tuple[str, int, Any]]:
    """Make every call that the guide's client has, as a program does."""
    _, made = client.one("post", "contact_groups", title="Friends", is_default=False)
    group = made["data"]["_id"]
    person = {"name": "Ada Obi", "number": "+234 817 980 3743", "group_id": group}
    _, contact = client.one("post", "contact", **person)
    order = {"send_type": "individual", "to": "2348179803743,2349048988056", "message": TEXT}
    _, sent = client.one("post", "broadcast", **order)
    _, later = client.one("post", "broadcast", **order, send_at=LATER)
    ids = {"group": group, "contact": contact["data"]["_id"], "sent": sent["data"]["_id"]}
    ids["later"] = later["data"]["_id"]
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("get", "contact_groups", {}),
        ("get", f"contact_groups/{ids['group']}", {}),
        ("put", f"contact_groups/{ids['group']}", {"title": "Others", "is_default": True}),
        ("get", "contact", {}),
        ("get", "contact", {"type": "all"}),
        ("get", f"contact/{ids['contact']}", {}),
        ("put", f"contact/{ids['contact']}", {**contact["data"], "name": "Ada Lovelace"}),
        ("get", "broadcast", {}),
        ("get", f"broadcast/{ids['sent']}", {}),
        ("post", "broadcast", {**order, "send_type": "group", "to": ids["group"]}),
        ("put", f"broadcast/{ids['later']}", {**later["data"], "to": "447911123456"}),
        ("get", "message-log", {"page": 1, "limit": 10}),
        ("get", "message-log", {"type": "all"}),
        ("get", "attachment", {}),
        ("delete", f"broadcast/{ids['later']}", {}),
        ("delete", f"contact/{ids['contact']}", {}),
        ("delete", f"contact_groups/{ids['group']}", {}),
    ]
    answers = client.send(*calls)
    return [
        (f"{verb} {path}", *answer) for (verb, path, _), answer in zip(calls, answers, strict=True)
    ]


@pytest.mark.parametrize("is_configured", [False, True])
def test_every_call_of_the_guides_client_succeeds(
    world: World,
    client: Client,
    is_configured: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if is_configured:
        client.session = own(world)
    answers = walk(client)
    assert {status for _, status, _ in answers} == {200, 201}, answers
    assert all(envelope["status"] is True for _, _, envelope in answers)
    said = {what: envelope["data"] for what, _, envelope in answers}
    assert [each["title"] for each in said["get contact_groups"]] == ["Friends"]
    [sent, *_] = said["get broadcast"]
    assert sent["message"] == TEXT
    assert not is_configured or sent["session_id"] == client.session.session_id


def test_the_document_in_the_query_alone_does_for_reads_and_for_what_has_none(
    world: World, client: Client
) -> None:
    client.session = own(world)
    _, made = client.one(
        "post", "broadcast", send_type="individual", to="2348179803743", message=TEXT
    )
    path = f"broadcast/{made['data']['_id']}"
    client.dropped = "data"
    answers = client.send(
        ("get", "broadcast", {}),
        ("get", path, {}),
        ("get", "contact", {"type": "all"}),
        ("get", "message-log", {"page": 1, "limit": 10}),
        ("delete", path, {}),
    )
    assert [status for status, _ in answers] == [200] * 5
    status, refused = client.one("post", "contact", name="Ada", number="2348179803743")
    assert (status, refused["status"]) == (422, False)


def test_the_document_in_the_body_alone_does(world: World, client: Client) -> None:
    client.session = own(world)
    client.dropped = "params"
    order = {"send_type": "individual", "to": ["2348179803743"], "message": TEXT}
    answers = client.send(("get", "contact", {}), ("post", "broadcast", order))
    assert [status for status, _ in answers] == [200, 201]


def test_a_wrong_token_of_a_session_is_refused_wherever_it_stands(
    world: World, client: Client
) -> None:
    mine, theirs, second = own(world), strangers(world), own(world)
    wrong = [
        theirs,
        Session(mine.session_id, theirs.access_token),
        Session(mine.session_id, second.access_token),
        Session(mine.session_id, "0b375583-b9c7-4a86-b95c-7e5064326778"),
    ]
    order = {"send_type": "individual", "to": "2348179803743", "message": TEXT}
    requests = []
    for client.session, client.dropped in product(wrong, ("", "data", "params")):
        requests.append(client.request("get", "broadcast", {}))
        requests.append(client.request("post", "broadcast", order))
    answers = client.answers(requests)
    assert [status for status, _ in answers] == [401] * 24
    assert all(envelope["message"] for _, envelope in answers)


def test_a_sessions_own_token_alone_sends_and_reaches_no_contact(
    world: World, client: Client
) -> None:
    alone = Client(client._server, "")  # noqa: SLF001 - the same service
    alone.session = own(world)
    order = {"send_type": "individual", "to": "2348179803743", "message": TEXT}
    answers = alone.send(
        ("post", "broadcast", order), ("get", "broadcast", {}), ("get", "contact", {})
    )
    assert [status for status, _ in answers] == [201, 200, 403]
