"""A message for each: from the request to what arrives."""

from __future__ import annotations

from typing import Any

import pytest

from service.app import Application
from service.channels.drivers import sandbox
from service.core.deliveries import chunks
from service.database import now_ms
from tests.conftest import Tenant, on_sqlite
from tests.sending import QUICK, dispatching
from tests.waiting import until

ADA, BEN, CARL = "2348179803743", "2349048988056", "2348179803744"


@pytest.fixture
def app(make_app: Any) -> Application:
    return make_app(**QUICK)  # type: ignore[no-any-return]


@pytest.fixture
def session(acme: Tenant) -> str:
    return str(acme.make("/session", name="main", channel="sandbox")["_id"])


def order(text: str, *to: Any, **more: Any) -> dict[str, Any]:
    return {"send_type": "individual", "to": list(to), "message": {"text": text}, **more}


def named(recipient: str, name: str) -> dict[str, Any]:
    return {"to": recipient, "variables": {"name": name}}


def arrived(acme: Tenant, session: str) -> dict[str, str]:
    """Return what each recipient has got."""
    store = acme.crier.settings.sandbox_store
    _, messages = sandbox.received(store, [session])
    return {message["recipient"]: message["body"]["body"] for message in messages}


def test_everybody_gets_a_message_of_their_own(
    app: Application, acme: Tenant, session: str
) -> None:
    text = "Hi {{name}}, {{city}} {{x|}}{braces}"
    people = [named(ADA, "Ada {{city}}"), named(f"+{BEN}", "Ben"), CARL]
    common = {"name": "friend", "city": "Lagos"}
    with dispatching(app):
        made = acme.make("/broadcast", **order(text, *people, variables=common))
        until(lambda: len(arrived(acme, session)) == 3)
    assert arrived(acme, session) == {
        ADA: "Hi Ada {{city}}, Lagos {braces}",
        BEN: "Hi Ben, Lagos {braces}",
        CARL: "Hi friend, Lagos {braces}",
    }
    assert (made["personalise"], made["syntax"], made["variables"]) == (True, "braces", common)
    assert (made["to"], made["message"]) == (people, {"text": text})


def test_a_plain_message_goes_out_as_it_is_and_the_guides_where_it_is_asked_for(
    app: Application, acme: Tenant, session: str
) -> None:
    text = "{Hi|Hello} [name|you], {{name}}"
    with dispatching(app):
        plain = acme.make("/broadcast", **order(text, ADA))
        guide = order("{Hi|Hello} [name|you]", BEN, personalise=True, syntax="guide")
        acme.make("/broadcast", **guide)
        until(lambda: len(arrived(acme, session)) == 2)
    said = arrived(acme, session)
    assert said[ADA] == text
    assert said[BEN] in {"Hi you", "Hello you"}
    assert (plain["personalise"], plain["syntax"], plain["variables"]) == (False, None, {})


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        (order("Hi {{name}}", ADA, personalise=True), "message.text", "No recipient has a value"),
        (order("Hi {{name}}", named(ADA, "A"), BEN), "to.1", "has no value for 'name'"),
        (
            order("Hi [name]", ADA, personalise=True, syntax="guide"),
            "message.text",
            "or write [name|there] for a text",
        ),
        (order("Hi {{nmae}}", named(ADA, "A")), "message.text", "the variables are name:"),
        (order("Hi {{name", named(ADA, "A")), "message.text", "Has '{{name' at character 4"),
        (order("Hi", ADA, variables={"a": "b"}), "variables", 'Needs "personalise": true'),
        (order("Hi", ADA, syntax="guide"), "syntax", 'Needs "personalise": true'),
        (order("Hi", ADA, syntax="python"), "syntax", "braces"),
        (order("Hi", ADA, personalise=True, variables={"a": [1]}), "variables", "no text and no"),
        (order("{{a}}", ADA, personalise=True, variables={"a": "x" * 4097}), "variables", "longer"),
        (
            order("x" * 4000 + "{{a}}", ADA, personalise=True, variables={"a": "x" * 97}),
            "to.0",
            "This service takes 4096 characters (MAX_TEXT_CHARS).",
        ),
        (order("Hi {{name}}", named(ADA, "A"), named(ADA, "B")), "to.1", "is entry 0 too"),
    ],
)
@on_sqlite
def test_what_is_wrong_is_told_at_once_and_nothing_is_stored(
    acme: Tenant, session: str, wrong: dict[str, Any], field: str, reason: str
) -> None:
    del session
    answer = acme.post("/broadcast", json=wrong)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]
    assert reason in answer.json["errors"][field][0]
    assert acme.get("/broadcast").json["data"] == []


def test_a_change_is_checked_against_the_variables_of_all_recipients(
    acme: Tenant, session: str
) -> None:
    del session
    people = [named(str(12025552000 + number), f"N{number}") for number in range(1_001)]
    asked = order("Hi {{name}}", *people, send_at="2998-01-01T00:00:00Z")
    made = acme.make("/broadcast", **asked)
    path = f"/broadcast/{made['_id']}"
    assert made["to_truncated"]

    whole = acme.put(path, json=made | {"message": {"text": "Bye {{name}}"}})
    assert whole.status_code == 200, whole.text
    wrong = acme.put(path, json={"message": {"text": "Bye {{city}}"}})
    assert list(wrong.json["errors"]) == ["message.text"]
    with acme.crier.database.writing() as db:
        chunks.fan_out(db, made["_id"], now=now_ms())
    common = acme.put(
        path, json={"message": {"text": "{{city}} {{name}}"}, "variables": {"city": "x"}}
    )
    assert common.status_code == 200, common.text
    assert common.json["data"]["counts"]["total"] == 1_001
    plain = acme.put(path, json={"to": ADA, "message": {"text": "{{"}, "personalise": False})
    assert plain.status_code == 200, plain.text
    assert plain.json["data"]["personalise"] is False


def test_what_a_recipient_lacks_comes_from_the_contact_then_from_the_broadcast(
    app: Application, acme: Tenant, session: str
) -> None:
    ada = {"name": "Ada Obi", "phones": [ADA], "fields": {"city": "Lagos", "title": "Dr"}}
    acme.make("/contact", **ada)
    acme.make("/contact", name="Another", phones=[ADA], fields={"city": "Kano"})
    ben = acme.make("/contact", name="Ben", phones=[BEN], fields={"name": "Benny"})
    group = acme.make("/group", name="friends", contacts=[ben["_id"]])
    text = "{{title|}}{{name}} from {{city}}"
    common = {"city": "nowhere", "title": "Mx"}
    mine = {"to": ADA, "variables": {"title": "Prof"}}
    with dispatching(app):
        acme.make("/broadcast", **order(text, mine, variables=common))
        to_group = order(text, group["_id"], personalise=True, variables=common)
        acme.make("/broadcast", **to_group | {"send_type": "group"})
        until(lambda: len(arrived(acme, session)) == 2)
    assert arrived(acme, session) == {
        ADA: "ProfAda Obi from Lagos",
        BEN: "MxBenny from nowhere",
    }
    missing = acme.post("/broadcast", json=order("{{name}}", ADA, CARL, personalise=True))
    assert list(missing.json["errors"]) == ["to.1"]
    acme.token = acme.post(f"/session/{session}/token").json["data"]["access_token"]
    within = acme.post("/broadcast", json=order("{{name}}", ADA, personalise=True))
    assert list(within.json["errors"]) == ["message.text"]
