"""Broadcasts over HTTP; what becomes of them is tested where it happens, in dispatch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.app import Application
from service.core import reach, recipients
from service.core.deliveries import chunks, claims, transitions
from service.core.deliveries.transitions import Outcome
from service.database import now_ms
from service.models import Broadcast, DeliveryStatus
from tests.blueprints.test_attachments import send
from tests.conftest import Tenant, on_sqlite
from tests.world import numbers

NUMBERS = ["2348179803743", "2349048988056", "447911123456"]
LOCATION = {"lat": "6.556452", "lng": " 3.2774487 "}


@pytest.fixture(autouse=True)
def session(acme: Tenant) -> str:
    return str(acme.make("/session", name="main", channel="sandbox")["_id"])


def order(**changes: Any) -> dict[str, Any]:
    asked = {"send_type": "individual", "to": NUMBERS, "message": {"text": "Hello"}, **changes}
    return {name: value for name, value in asked.items() if value is not ...}


def make(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    return tenant.make("/broadcast", **order(**changes))


def deliver(tenant: Tenant, broadcast_id: str, *statuses: DeliveryStatus) -> None:
    """Do to a broadcast's deliveries what the dispatcher would, with this end for each."""
    with tenant.crier.database.writing() as db:
        while chunks.fan_out(db, broadcast_id, now=now_ms()):
            pass
        claimed = claims.take(db, "c" * 24, {broadcast_id: len(statuses)}, now=now_ms())
        outcomes = [
            Outcome(delivery.id, status, 1, now_ms(), now_ms(), "m-1 m-2", "code", "A reason.")
            for delivery, status in zip(claimed, statuses, strict=True)
        ]
        transitions.record(db, "c" * 24, outcomes, now=now_ms())


def test_to_may_be_a_list_and_comes_back_as_it_was_given(acme: Tenant) -> None:
    given = ["+234 817 980 3743", "2349048988056", "2348179803743"]
    made = make(acme, to=given)
    assert made["to"] == given
    assert made["counts"]["total"] == 2


def test_recipients_that_bring_variables_keep_them(acme: Tenant) -> None:
    given = [{"to": NUMBERS[0], "variables": {"name": "Ada", "age": 36}}, NUMBERS[1]]
    made = make(acme, to=given, message={"text": "Hi {{name|}} {{age|}}"})
    assert made["to"] == given
    deliver(acme, made["_id"], DeliveryStatus.SENT)
    shown = acme.get(f"/broadcast/{made['_id']}/delivery").json["data"]
    assert [each["variables"] for each in shown] == [{"name": "Ada", "age": "36"}, {}]


def test_the_variables_of_a_group_are_those_of_its_members(acme: Tenant) -> None:
    contact = acme.make("/contact", name="Ada", phones=[NUMBERS[0]])
    group = acme.make("/group", name="friends", contacts=[contact["_id"]])
    to = [{"to": group["_id"], "variables": {"team": "red"}}]
    made = make(acme, send_type="group", to=to, message={"text": "Go, {{team}}!"})
    deliver(acme, made["_id"], DeliveryStatus.SENT)
    [shown] = acme.get(f"/broadcast/{made['_id']}/delivery").json["data"]
    assert (shown["recipient"], shown["variables"]) == (NUMBERS[0], {"team": "red"})


def test_variables_of_too_many_bytes_are_refused(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (reach, recipients):
        monkeypatch.setattr(module, "MOST_BYTES", 10)
    to = [{"to": NUMBERS[0], "variables": {"name": "Ada"}}]
    answer = acme.post("/broadcast", json=order(to=to, message={"text": "{{name}}"}))
    reason = "Has more than 10 bytes of variables. Send several broadcasts."
    assert (answer.status_code, answer.json["errors"]) == (422, {"to": [reason]})


def test_the_message_comes_back_as_it_was_given(acme: Tenant) -> None:
    given = {"contactId": "", "location": {"lng": 3.5, "lat": 0, "name": None}, "text": "Grüße 😀"}
    made = make(acme, message=given)
    assert made["message"] == given
    assert list(made["message"]) == list(given)


@on_sqlite
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": ...}, "to"),
        ({"to": ""}, "to"),
        ({"to": True}, "to"),
        ({"to": [True]}, "to"),
        ({"to": [["12025550110"]]}, "to"),
        ({"to": {"a": 1}}, "to"),
        ({"to": [{"to": NUMBERS[0]}, {"a": 1}]}, "to.1"),
        (
            {"to": [{"to": NUMBERS[0], "variables": {"a": []}}], "message": {"text": "{{a}}"}},
            "to.0",
        ),
        ({"to": None}, "to"),
        ({"to": "2348179803743,letters,2349048988056,12"}, "to.1"),
        ({"send_type": ...}, "send_type"),
        ({"send_type": "everybody"}, "send_type"),
        ({"send_type": "group"}, "to.0"),
        ({"send_type": "group", "to": "0" * 24}, "to.0"),
        ({"message": ...}, "message"),
        ({"message": None}, "message"),
        ({"message": "Hello"}, "message"),
        ({"message": {}}, "message"),
        ({"message": {"text": "", "attachments": [], "contactId": None}}, "message"),
        ({"message": {"text": 5}}, "message.text"),
        ({"message": {"text": "x" * 4097}}, "message.text"),
        ({"message": {"text": "x", "title": "y"}}, "message.title"),
        ({"message": {"attachments": ["0" * 24]}}, "message.attachments.0"),
        ({"message": {"attachments": ["nonsense"]}}, "message.attachments.0"),
        ({"message": {"attachments": ["0" * 24] * 11}}, "message.attachments"),
        ({"message": {"attachments": "0" * 24}}, "message.attachments"),
        ({"message": {"contactId": "0" * 24}}, "message.contactId"),
        ({"message": {"contactId": "nonsense"}}, "message.contactId"),
        ({"message": {"location": {"lat": "1"}}}, "message.location.lng"),
        ({"message": {"location": {**LOCATION, "lat": "91"}}}, "message.location.lat"),
        ({"message": {"location": {**LOCATION, "lat": -90.1}}}, "message.location.lat"),
        ({"message": {"location": {**LOCATION, "lng": "180.01"}}}, "message.location.lng"),
        ({"message": {"location": {**LOCATION, "lng": True}}}, "message.location.lng"),
        ({"message": {"location": {**LOCATION, "lat": "1_0"}}}, "message.location.lat"),
        ({"message": {"location": {**LOCATION, "lat": "nan"}}}, "message.location.lat"),
        ({"message": {"location": {**LOCATION, "zoom": 1}}}, "message.location.zoom"),
        ({"send_at": "tomorrow"}, "send_at"),
        ({"send_at": "2021-12-09T07:33:18"}, "send_at"),
        ({"send_at": 1639035198}, "send_at"),
        ({"expires_at": "2021-12-09T07:33:18Z"}, "expires_at"),
        ({"priority": 1}, "priority"),
    ],
)
def test_each_fault_is_named_and_nothing_is_stored(
    acme: Tenant, changes: dict[str, Any], field: str
) -> None:
    answer = acme.post("/broadcast", json=order(**changes))
    assert answer.status_code == 422
    assert field in answer.json["errors"]
    assert acme.get("/broadcast").json["data"] == []


def test_every_bad_recipient_is_named_with_its_position_and_the_reason(acme: Tenant) -> None:
    answer = acme.post("/broadcast", json=order(to="letters, 2348179803743 ,,12"))
    errors = answer.json["errors"]
    assert list(errors) == ["to.0", "to.2", "to.3"]
    assert "'letters' is not a phone number" in errors["to.0"][0]


def test_attachments_and_contacts_of_others_are_unknown(acme: Tenant, globex: Tenant) -> None:
    theirs = send(globex).json["data"]["_id"]
    card = globex.make("/contact", name="Eve", phones=[NUMBERS[0]])["_id"]
    message = {"attachments": [theirs], "contactId": card}
    answer = acme.post("/broadcast", json=order(message=message))
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"message.attachments.0", "message.contactId"}


def test_the_operators_limits_hold(make_app: Callable[..., Application]) -> None:
    acme = Tenant(make_app(max_text_chars=5, max_attachments=1, max_recipients=2), "Strict")
    acme.make("/session", name="main", channel="sandbox")
    message = {"text": "123456", "attachments": ["0" * 24] * 2}
    answer = acme.post("/broadcast", json=order(message=message))
    assert set(answer.json["errors"]) == {"message.text", "message.attachments", "to"}
    assert set(acme.post("/broadcast", json=order()).json["errors"]) == {"to"}
    assert (
        acme.post("/broadcast", json=order(to=NUMBERS[:2], message={"text": "😀" * 5})).status_code
        == 201
    )


def test_a_later_moment_makes_a_broadcast_scheduled(acme: Tenant) -> None:
    made = make(acme, send_at="2099-01-01T00:00:00+01:00", expires_at="2099-01-02T00:00:00Z")
    assert made["status"] == "scheduled"
    assert made["send_at"] == "2098-12-31T23:00:00.000Z"
    assert made["expires_at"] == "2099-01-02T00:00:00.000Z"


def test_empty_moments_are_none(acme: Tenant) -> None:
    made = make(acme, send_at="", expires_at=None)
    assert (made["status"], made["send_at"]) == ("sending", None)


@on_sqlite
@pytest.mark.parametrize(
    "empty",
    [
        {"location": {}},
        {"location": []},
        {"location": {"lat": "", "lng": "", "name": ""}},
        {"location": {"lat": None, "lng": None}},
        {"location": ""},
        {"contactId": "", "attachments": ""},
        {"attachments": [], "template": []},
        {"template": {"name": "", "language": ""}},
        {"attachments": {}},
        {"attachments": [""]},
    ],
)
def test_what_says_nothing_is_as_if_it_were_not_there(acme: Tenant, empty: dict[str, Any]) -> None:
    message = {"text": "Hello", **empty}
    made = make(acme, message=message)
    assert made["message"] == message
    with acme.crier.database.reading() as db:
        content = db.get_one(Broadcast, made["_id"]).content
    assert content["text"] == "Hello"
    assert not any(content[name] for name in ("media", "location", "contact", "template"))


@pytest.mark.parametrize(
    "to",
    [
        "\u202a+1 202-555-0110\u202c; (1) 202.555.0111",
        "12025550110\n12025550111\n",
        [12025550110, "https://wa.me/12025550111"],
    ],
)
def test_what_is_accepted_is_shown_normalised_and_as_given(acme: Tenant, to: Any) -> None:
    made = make(acme, to=to)
    assert made["to"] == to
    deliver(acme, made["_id"], DeliveryStatus.SENT, DeliveryStatus.SENT)
    path = f"/broadcast/{made['_id']}/delivery"
    shown = acme.get(path).json["data"]
    assert [each["recipient"] for each in shown] == ["12025550110", "12025550111"]
    found = acme.get(path, query_string={"recipient": "+1 (202) 555-0111"}).json["data"]
    assert found == shown[1:]


def test_one_integer_is_one_recipient(acme: Tenant) -> None:
    made = make(acme, to=12025550110)
    assert (made["to"], made["counts"]["total"]) == (12025550110, 1)


def test_a_number_shortened_by_a_spreadsheet_is_refused_in_those_words(acme: Tenant) -> None:
    for raw in ("2.34818E+12", '["2.34818E+12"]', '"2.34818E+12"', "[2.34818E+12]"):
        body = f'{{"send_type": "individual", "to": {raw}, "message": {{"text": "Hi"}}}}'
        answer = acme.post("/broadcast", data=body)
        reason = (
            "'2.34818E+12' was shortened by a spreadsheet and has lost digits: format the"
            " column as text."
        )
        assert answer.json["errors"] == {"to.0": [reason]}


def test_a_template_is_tidied_where_that_is_asked_for(acme: Tenant) -> None:
    parameter = {"type": "text", "text": "two\nlines"}
    template = {
        "name": "hello",
        "language": "en",
        "components": [{"type": "body", "parameters": [parameter]}],
    }
    answer = acme.post("/broadcast", json=order(message={"template": template}))
    place = "message.template.components.0.parameters.0.text"
    assert list(answer.json["errors"]) == [place]
    made = make(acme, message={"template": {**template, "tidy": True}})
    with acme.crier.database.reading() as db:
        content = db.get_one(Broadcast, made["_id"]).content
    [component] = content["template"]["components"]
    assert component["parameters"] == [{"type": "text", "text": "two lines"}]
    assert "tidy" not in content["template"]


def test_a_long_to_is_cut_and_says_so(acme: Tenant) -> None:
    numbers = [f"234817{number:07d}" for number in range(1001)]
    made = make(acme, to=",".join(numbers))
    assert made["to_truncated"] is True
    assert made["to"].split(",") == numbers[:1000]
    assert made["counts"]["total"] == 1001


def test_the_same_key_and_request_make_one_broadcast(acme: Tenant) -> None:
    key = {"Idempotency-Key": "order 66"}
    first = acme.post("/broadcast", json=order(), headers=key)
    body = json.dumps({"access_token": acme.token, **order()}, indent=4)
    again = acme.post("/broadcast", data=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json["data"]["_id"] == first.json["data"]["_id"]
    assert len(acme.get("/broadcast").json["data"]) == 1


def test_the_same_key_for_another_request_tells_which_broadcast_it_made_and_what_differs(
    acme: Tenant,
) -> None:
    key = {"Idempotency-Key": "order 66"}
    made = acme.post("/broadcast", json=order(), headers=key).json["data"]["_id"]
    other = order(send_at="2030-01-01T09:00:00Z", message={"text": "Another"})
    answer = acme.post("/broadcast", json=other, headers=key)
    assert answer.status_code == 409
    reason = [f"Differs from the request that created broadcast {made!r}."]
    assert answer.json["errors"] == {
        "Idempotency-Key": [f"This Idempotency-Key has already created broadcast {made!r}."],
        "message.text": reason,
        "send_at": reason,
    }
    assert "differs in message.text, send_at." in answer.json["message"]


def test_empty_fields_make_no_other_request(acme: Tenant) -> None:
    key = {"Idempotency-Key": "order 66"}
    answers = [
        acme.post("/broadcast", json=order(**more), headers=key)
        for more in ({}, {"session_id": ""}, {"send_at": None, "expires_at": ""})
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len(acme.get("/broadcast").json["data"]) == 1


def test_a_retry_by_another_session_needs_one_that_is_there(acme: Tenant) -> None:
    made = make(acme)
    path = f"/broadcast/{made['_id']}/retry"
    answer = acme.post(path, json={"session_id": "0" * 24})
    assert (answer.status_code, list(answer.json["errors"])) == (404, ["session_id"])
    other = acme.make("/session", name="other", channel="sandbox")["_id"]
    for session_id in (made["session_id"], other):
        same = acme.post(path, json={"session_id": session_id})
        assert same.status_code == 409  # nothing of it has failed
    assert acme.get(f"/broadcast/{made['_id']}").json["data"]["ways"] == []


@on_sqlite
@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"after": "failed"}, "fallback.0.session_id"),
        ({"session_id": "0" * 24, "after": "failed"}, "fallback.0.session_id"),
        ({"session_id": "OTHER", "after": "never"}, "fallback.0.after"),
        ({"session_id": "OTHER", "after": "undelivered"}, "fallback.0.minutes"),
        ({"session_id": "OTHER", "after": "undelivered", "minutes": 0}, "fallback.0.minutes"),
        ({"session_id": "OTHER", "after": "undelivered", "minutes": 10_081}, "fallback.0.minutes"),
        ({"session_id": "OTHER", "after": "failed", "minutes": 5}, "fallback.0.minutes"),
        ({"session_id": "OWN", "after": "failed"}, "fallback.0.session_id"),
        (
            {"session_id": "OTHER", "after": "failed", "message": {"text": "{{a}}"}},
            "fallback.0.message.text",
        ),
        ({"session_id": "OTHER", "after": "failed", "more": 1}, "fallback.0.more"),
    ],
)
def test_a_step_of_a_fallback_that_makes_no_sense_is_refused(
    acme: Tenant, step: dict[str, Any], field: str
) -> None:
    own = acme.make("/session", name="own", channel="sandbox")["_id"]
    other = acme.make("/session", name="other", channel="sandbox")["_id"]
    known = {"OWN": own, "OTHER": other}
    named = {**step, "session_id": known.get(step.get("session_id", ""), step.get("session_id"))}
    asked = order(session_id=own, personalise=True, fallback=[named])
    answer = acme.post("/broadcast", json=asked)
    assert answer.status_code == 422, answer.json
    assert field in answer.json["errors"]


def test_a_fallback_has_three_steps_at_most_and_each_session_once(acme: Tenant) -> None:
    make(acme)
    others = [
        acme.make("/session", name=f"way {number}", channel="sandbox")["_id"] for number in range(4)
    ]
    steps = [{"session_id": each, "after": "failed"} for each in others]
    assert "fallback" in acme.post("/broadcast", json=order(fallback=steps)).json["errors"]
    twice = [steps[0], steps[1], steps[0]]
    refused = acme.post("/broadcast", json=order(fallback=twice))
    assert list(refused.json["errors"]) == ["fallback.2.session_id"]
    made = acme.make("/broadcast", **order(fallback=steps[:3]))
    assert made["fallback"] == steps[:3]
    assert [each["session_id"] for each in made["ways"]] == others[:3]
    listed = acme.get("/broadcast").json["data"]
    assert len(listed) == 2
    assert listed[1]["ways"] == made["ways"]


def test_a_broadcast_keeps_sessions_of_its_fallback_and_may_change_them(acme: Tenant) -> None:
    make(acme)
    first, second = (
        acme.make("/session", name=name, channel="sandbox")["_id"] for name in ("one", "two")
    )
    step = {"session_id": first, "after": "undelivered", "minutes": 120}
    made = acme.make("/broadcast", **order(fallback=[step], send_at="2999-01-01T00:00:00Z"))
    path = f"/broadcast/{made['_id']}"
    refused = acme.delete(f"/session/{first}")
    assert refused.status_code == 409
    assert made["_id"] in refused.json["message"]
    other = {"session_id": second, "after": "failed"}
    changed = acme.put(path, json={"fallback": [other]})
    assert changed.json["data"]["fallback"] == [other]
    assert acme.delete(f"/session/{first}").status_code == 200
    assert acme.put(path, json={"fallback": []}).json["data"]["ways"] == []


def test_a_sessions_own_token_leads_to_no_other_session(acme: Tenant) -> None:
    make(acme)
    session = acme.make("/session", name="own", channel="sandbox")
    other = acme.make("/session", name="other", channel="sandbox")["_id"]
    credentials = {"session_id": session["_id"], "access_token": session["access_token"]}
    asked = order(**credentials, fallback=[{"session_id": other, "after": "failed"}])
    answer = acme.ask("POST", "/broadcast", json=asked, headers={"Authorization": ""})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["fallback"]


def test_a_dry_run_previews_the_steps_of_a_fallback(acme: Tenant) -> None:
    make(acme)
    prices = {"currency": "EUR", "countries": {"*": 0.05}}
    other = acme.make("/session", name="other", channel="sandbox", prices=prices)["_id"]
    step = {"session_id": other, "after": "failed", "message": {"text": "By the other way"}}
    asked = order(fallback=[step], to=numbers(2))
    said = acme.post("/broadcast?dry_run=true", json=asked).json["data"]["fallback"]
    (way,) = said
    assert (way["session_id"], way["recipients"], way["skipped"]) == (other, 2, 0)
    assert way["cost"] == {"amount": "0.1", "currency": "EUR", "unpriced": 0}
    assert way["messages"][0]["parts"] == [{"type": "text", "text": "By the other way"}]


def test_keys_are_each_clients_own_and_an_empty_one_is_none(acme: Tenant, globex: Tenant) -> None:
    globex.make("/session", name="main", channel="sandbox")
    key = {"Idempotency-Key": "1"}
    ids = {
        answer.json["data"]["_id"]
        for answer in (
            acme.post("/broadcast", json=order(), headers=key),
            globex.post("/broadcast", json=order(), headers=key),
            acme.post("/broadcast", json=order(), headers={"Idempotency-Key": ""}),
            acme.post("/broadcast", json=order(), headers={"Idempotency-Key": ""}),
        )
    }
    assert len(ids) == 4


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9"])
def test_a_key_of_another_form_is_refused(acme: Tenant, key: str) -> None:
    answer = acme.post("/broadcast", json=order(), headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["Idempotency-Key"]


def test_recipients_are_shown_by_what_became_of_them(acme: Tenant) -> None:
    made = make(acme)
    deliver(acme, made["_id"], DeliveryStatus.SENT, DeliveryStatus.FAILED)
    for path in (f"/broadcast/{made['_id']}", "/broadcast"):
        data = acme.get(path).json["data"]
        shown = data[0] if isinstance(data, list) else data
        assert (shown["sent"], shown["failed"], shown["pending"]) == (
            NUMBERS[:1],
            NUMBERS[1:2],
            NUMBERS[2:],
        )
        assert shown["counts"] == {
            "total": 3,
            "pending": 1,
            "sent": 1,
            "delivered": 0,
            "read": 0,
            "failed": 1,
            "cancelled": 0,
            "uncertain": 0,
        }


def test_deliveries_can_be_paged_and_filtered(acme: Tenant) -> None:
    made = make(acme)
    path = f"/broadcast/{made['_id']}/delivery"
    assert acme.get(path).json["data"] == []
    deliver(acme, made["_id"], DeliveryStatus.SENT, DeliveryStatus.FAILED)
    every = acme.get(path).json["data"]
    assert [delivery["recipient"] for delivery in every] == NUMBERS
    assert [delivery["status"] for delivery in every] == ["sent", "failed", "queued"]
    assert every[0]["message_ids"] == ["m-1", "m-2"]
    assert (every[0]["nextAttemptAt"], every[1]["reason"]) == (None, "A reason.")
    assert every[2]["nextAttemptAt"].endswith("Z")
    assert (every[2]["sentAt"], every[2]["message_ids"]) == (None, [])
    failed = acme.get(f"{path}?status=failed")
    assert [delivery["recipient"] for delivery in failed.json["data"]] == NUMBERS[1:2]
    assert json.loads(failed.headers["X-Pagination"])["total"] == 1
    mine = acme.get(f"{path}?recipient={NUMBERS[2]}")
    assert [delivery["recipient"] for delivery in mine.json["data"]] == NUMBERS[2:]
    second = acme.get(f"{path}?page=2&page_size=2")
    assert [delivery["recipient"] for delivery in second.json["data"]] == NUMBERS[2:]
    assert acme.get(f"{path}?status=lost").status_code == 422
    assert acme.get(f"{path}?page=3&page_size=2").status_code == 422


def test_a_broadcast_is_paused_and_resumed(acme: Tenant) -> None:
    path = f"/broadcast/{make(acme)['_id']}"
    assert acme.post(f"{path}/resume").status_code == 409
    paused = acme.post(f"{path}/pause", json={"session_id": "", "access_token": ""})
    assert paused.json["data"]["status"] == "paused"
    assert acme.post(f"{path}/pause").status_code == 409
    assert acme.post(f"{path}/resume").json["data"]["status"] == "sending"


def test_failed_deliveries_are_retried_and_uncertain_ones_only_on_demand(acme: Tenant) -> None:
    made = make(acme)
    path = f"/broadcast/{made['_id']}"
    assert acme.post(f"{path}/retry").status_code == 409
    deliver(
        acme,
        made["_id"],
        DeliveryStatus.SENT,
        DeliveryStatus.FAILED,
        DeliveryStatus.UNCERTAIN,
    )
    retried = acme.post(f"{path}/retry").json["data"]
    assert (retried["failed"], retried["counts"]["uncertain"]) == ([], 1)
    assert retried["left_out"] == {"opted_out": 0, "unreachable_by_channel": 0}
    again = acme.post(f"{path}/retry", json={"statuses": ["uncertain", "uncertain"]})
    assert again.json["data"]["counts"]["uncertain"] == 0
    assert acme.post(f"{path}/retry", json={"statuses": ["sent"]}).status_code == 422


def test_deleting_stops_what_is_not_handed_over(acme: Tenant) -> None:
    made = make(acme)
    answer = acme.delete(f"/broadcast/{made['_id']}")
    assert answer.json["data"]["status"] == "cancelled"
    for path in ("", "/delivery"):
        assert acme.get(f"/broadcast/{made['_id']}{path}").status_code == 404
    assert acme.delete(f"/broadcast/{made['_id']}").status_code == 404


def test_lists_are_paged_from_either_end_with_links(acme: Tenant) -> None:
    ids = [make(acme)["_id"] for _ in range(5)]
    page = acme.get(f"/broadcast?page=2&page_size=2&access_token={acme.token}")
    assert [broadcast["_id"] for broadcast in page.json["data"]] == ids[2:4]
    assert json.loads(page.headers["X-Pagination"]) == {
        "total": 5,
        "total_pages": 3,
        "first_page": 1,
        "last_page": 3,
        "page": 2,
        "previous_page": 1,
        "next_page": 3,
    }
    assert page.headers["Link"] == (
        '<http://localhost/broadcast?page=1&page_size=2>; rel="prev",'
        ' <http://localhost/broadcast?page=3&page_size=2>; rel="next"'
    )
    newest = acme.get("/broadcast?sort=-createdAt&page_size=2").json["data"]
    assert [broadcast["_id"] for broadcast in newest] == ids[:-3:-1]


@on_sqlite
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=2", "page"),
        (f"page={10**9}", "page"),
        (f"page={10**400}", "page"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=one", "page"),
        ("page_size=0", "page_size"),
        ("page_size=1001", "page_size"),
        ("sort=name", "sort"),
        ("pagesize=5", "pagesize"),
        ("page=%00", "query"),
    ],
)
def test_a_page_that_cannot_be_is_refused(acme: Tenant, query: str, field: str) -> None:
    answer = acme.get(f"/broadcast?{query}")
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]


def test_lists_show_the_beginning_of_what_is_long(acme: Tenant) -> None:
    to = [{"to": each, "variables": {"name": "x" * 100}} for each in numbers(120)]
    text = "{{name}}" + "z" * 3_980
    message = {"text": text, "location": {"lat": 1, "lng": 2, "name": "y" * 1_000}}
    made = make(acme, to=to, message=message, send_at="2999-01-01T00:00:00Z")
    assert (made["message"], made["to"], made["message_truncated"]) == (message, to, False)
    [listed] = acme.get("/broadcast").json["data"]
    assert listed["message"] == {"text": text}
    assert listed["to"] == to[: len(listed["to"])] != to
    assert (listed["message_truncated"], listed["to_truncated"]) == (True, True)
    path = f"/broadcast/{made['_id']}"
    assert acme.put(path, json=listed).json["data"]["message"] == message
    again = acme.get(path).json["data"]
    assert (again["to"], again["counts"]["total"]) == (to, len(to))


LONG = "x" * 65_536


@pytest.mark.parametrize(
    "message",
    [
        {"text": LONG},
        {"text": "é" * 32_768},
        {"text": "Hi", "location": {LONG: ""}},
        {"text": "Hi", "template": {"name": "a", "language": "en", "components": [{"a": LONG}]}},
    ],
)
def test_a_message_is_stored_up_to_a_size(
    make_app: Callable[..., Application], message: dict[str, Any]
) -> None:
    acme = Tenant(make_app(max_text_chars=100_000), "Talker")
    acme.make("/session", name="main", channel="sandbox")
    answer = acme.post("/broadcast", json=order(message=message))

    assert answer.status_code == 422
    assert "message" in answer.json["errors"]
    assert "at most 65,536 bytes as JSON (MAX_MESSAGE_BYTES)" in answer.text
    made = acme.make("/broadcast", **order(send_at="2999-01-01T00:00:00Z"))
    assert acme.put(f"/broadcast/{made['_id']}", json={"message": message}).status_code == 422


@pytest.mark.parametrize("number", [2, 10**9, 10**30])
def test_a_page_of_one_persons_deliveries_beyond_the_last_is_refused(
    acme: Tenant, number: int
) -> None:
    answer = acme.get(f"/delivery?recipient=2348179803743&page={number}")
    assert answer.status_code == 422
    assert answer.json["errors"] == {"page": ["The last page is 1."]}
