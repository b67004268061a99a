"""What providers report, from their own examples to what a client is shown."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from service.app import Application
from tests.provider import RESET_AFTER_BODY, Provider, Taken, graph_error, instead
from tests.sending import PHONE_NUMBER_ID, QUICK, VERIFY_TOKEN, Sending, sign
from tests.world import numbers

PRICING = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"}
UNDELIVERABLE = {
    "code": 131026,
    "title": "Message undeliverable",
    "message": "Message undeliverable",
    "error_data": {"details": "Message Undeliverable."},
    "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
}
STOPPED = {
    **UNDELIVERABLE,
    "code": 131050,
    "error_data": {"details": "User has chosen to stop marketing messages."},
}
"""As in Meta's reference of the status messages webhook."""

LAGOS = {"lat": "6.556452", "lng": "3.2774487", "name": "Lagos"}

STORIES: list[tuple[str, list[str]]] = [
    ("sent", ["sent"]),
    ("delivered", ["sent", "delivered"]),
    ("read", ["sent", "delivered", "read"]),
    ("read", ["read"]),  # Meta leaves `delivered` out for somebody who has the chat open
    ("failed", ["failed"]),
    ("failed", ["sent", "failed"]),
    ("delivered", ["failed", "delivered"]),  # of two devices of one person
]


def status(taken: Taken, said: str, *, reference: bool = True) -> dict[str, Any]:
    """Return what Meta says about a message that it took."""
    word = {
        "id": taken.message_id,
        "status": said,
        "timestamp": "1750030073",
        "recipient_id": taken.recipient,
    }
    if reference:
        word["biz_opaque_callback_data"] = taken.reference
    return {**word, **({"errors": [UNDELIVERABLE]} if said == "failed" else {"pricing": PRICING})}


def cloud(statuses: Iterable[dict[str, Any]], number: str = PHONE_NUMBER_ID) -> bytes:
    """Return a webhook of Meta's, with a message that somebody wrote beside the statuses."""
    metadata = {"display_phone_number": "15550783881", "phone_number_id": number}
    value = {"messaging_product": "whatsapp", "metadata": metadata}
    incoming = {"from": "16505551234", "id": "wamid.in", "type": "text", "text": {"body": "Hi"}}
    changes = [
        {"value": {**value, "statuses": list(statuses)}, "field": "messages"},
        {"value": {**value, "messages": [incoming]}, "field": "messages"},
    ]
    entry = {"id": "102290129340398", "changes": changes}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def waha(taken: Taken, ack: int, event: str = "message.ack") -> bytes:
    """Return a webhook of WAHA's, with the values of its own example."""
    chat = taken.body["chatId"]
    payload = {
        "id": f"true_{chat}_{taken.message_id}",
        "from": chat,
        "to": "11111111111@c.us",
        "participant": None,
        "fromMe": True,
        "ack": ack,
        "ackName": "ANY",
    }
    said = {
        "id": "evt_01aaaaaaaaaaaaaaaaaaaaaaaa",
        "timestamp": 1634567890123,
        "session": "default",
        "engine": "GOWS",
        "event": event,
        "payload": payload,
        "environment": {"version": "2026.7.1", "engine": "GOWS", "tier": "PLUS", "browser": None},
    }
    return json.dumps(said).encode()


def assert_refused(sending: Sending, session: dict[str, Any], body: bytes, signature: str) -> None:
    answer = sending.report(session, body, signature)
    assert answer.status_code == 403
    said = answer.json
    assert isinstance(said, dict)
    assert (said["status"], said["data"]) == (False, None)
    assert "signature" in said["message"]


def test_metas_examples_shuffled_and_doubled_end_right_and_forged_ones_move_nothing(
    sending: Sending,
) -> None:
    session = sending.session()
    people = numbers(5 * len(STORIES))
    chance = random.Random(3)  # noqa: S311 - the same disorder every time
    with sending.running():
        broadcast_id = sending.broadcast(people, session)
        sending.await_completed(broadcast_id)
        taken = {each.recipient: each for each in sending.provider.taken}
        stories = {person: STORIES[place % len(STORIES)] for place, person in enumerate(people)}
        words = [status(taken[each], said) for each, (_, all_) in stories.items() for said in all_]
        words += chance.choices(words, k=len(words))
        chance.shuffle(words)
        while words:
            batch = [words.pop() for _ in range(min(len(words), chance.randint(1, 12)))]
            body = cloud(batch)
            assert_refused(sending, session, body, f"sha256={'0' * 64}")
            answer = sending.report(session, body)
            assert answer.status_code == 200, answer.text
            assert answer.json["data"] == {"receipts": len(batch)}  # type: ignore[index]
        wanted = {person: end for person, (end, _) in stories.items()}

        def states() -> dict[str, str]:
            return {each["recipient"]: each["status"] for each in sending.deliveries(broadcast_id)}

        sending.await_state(f"/broadcast/{broadcast_id}", lambda _: states() == wanted)
    shown = sending.get(f"/broadcast/{broadcast_id}")
    assert shown["status"] == "completed"
    counts = {end: sum(each == end for each in wanted.values()) for end in wanted.values()}
    assert {name: shown["counts"][name] for name in counts} == counts
    assert shown["failed"] == [person for person in people if wanted[person] == "failed"]
    failed = [each for each in sending.deliveries(broadcast_id) if each["status"] == "failed"]
    assert {each["code"] for each in failed} == {"131026"}
    assert all("not on WhatsApp" in each["reason"] for each in failed)
    assert len(sending.provider.taken) == len(people)


def test_wahas_acknowledgements_are_found_by_its_ids_and_by_ours(sending: Sending) -> None:
    session = sending.session("waha")
    people = numbers(3)
    with sending.running():
        broadcast_id = sending.broadcast(
            people, session, text="Look", attachments=[sending.picture()], location=LAGOS
        )
        sending.await_completed(broadcast_id)
        acks = dict(zip(people, (1, 2, 3), strict=True))
        bodies = [
            waha(each, acks[each.recipient.partition("@")[0]]) for each in sending.provider.taken
        ]
        assert len(bodies) == 6
        random.Random(4).shuffle(bodies)  # noqa: S311 - the same disorder every time
        for body in bodies * 2:
            assert_refused(sending, session, body + b" ", sign("waha", body)[1])
            assert sending.report(session, body).status_code == 200
        wanted = ["sent", "delivered", "read"]
        sending.await_state(
            f"/broadcast/{broadcast_id}",
            lambda _: [each["status"] for each in sending.deliveries(broadcast_id)] == wanted,
        )


def test_a_receipt_settles_what_nobody_answered(sending: Sending, provider: Provider) -> None:
    session = sending.session()
    provider.then(RESET_AFTER_BODY)
    with sending.running():
        broadcast_id = sending.broadcast(numbers(1), session)
        path = f"/broadcast/{broadcast_id}"
        sending.await_state(path, lambda shown: shown["counts"]["uncertain"] == 1)
        assert sending.get(path)["pending"] == numbers(1)
        (taken,) = provider.taken
        sending.report(session, cloud([status(taken, "delivered")]))
        sending.await_state(path, lambda shown: shown["counts"]["delivered"] == 1)
    (delivery,) = sending.deliveries(broadcast_id)
    assert delivery["message_ids"] == [taken.message_id]
    assert delivery["reason"] is None
    assert sending.get(path)["sent"] == numbers(1)


def test_who_opted_out_by_a_receipt_gets_nothing_more(sending: Sending) -> None:
    session = sending.session()
    ada, grace = numbers(2)
    with sending.running():
        first = sending.broadcast([ada, grace], session)
        sending.await_completed(first)
        taken = next(each for each in sending.provider.taken if each.recipient == ada)
        sending.report(session, cloud([{**status(taken, "failed"), "errors": [STOPPED]}]))
        sending.await_state(f"/broadcast/{first}", lambda shown: shown["failed"] == [ada])
        second = sending.await_completed(sending.broadcast([ada, grace], session))
    assert (second["sent"], second["failed"]) == ([grace], [ada])
    assert [each.recipient for each in sending.provider.taken].count(ada) == 1


@pytest.mark.usefixtures("short_waits")
def test_a_retry_after_a_receipt_sends_what_failed_once_more_and_nothing_else(
    sending: Sending,
) -> None:
    session = sending.session()
    message = {"text": "Look", "attachments": [sending.picture()], "location": LAGOS}
    with sending.running():
        broadcast_id = sending.broadcast(numbers(1), session, **message)
        sending.await_completed(broadcast_id)
        picture, place = sending.provider.taken
        told = cloud([status(picture, "failed"), status(place, "delivered")])
        sending.report(session, told)
        path = f"/broadcast/{broadcast_id}"
        sending.await_state(path, lambda shown: shown["counts"]["failed"] == 1)
        failed = sending.deliveries(broadcast_id)[0]["message_ids"]
        works, sending.provider.number = sending.provider.number, {"id": "1", "status": "BANNED"}
        sending.provider.then(instead(401, graph_error(190, "No token")))
        sending.client.post(f"{path}/retry")
        sending.await_state(path, lambda shown: shown["reason"])
        waiting = sending.deliveries(broadcast_id)[0]["message_ids"]
        sending.provider.number = works
        sending.report(session, told)
        sending.await_completed(broadcast_id)
        sending.await_state(path, lambda shown: shown["counts"]["sent"] == 1)
    assert failed == waiting == [picture.message_id, place.message_id]
    again = sending.provider.taken[-1].message_id
    shown = sending.deliveries(broadcast_id)[0]["message_ids"]
    assert shown == [again, place.message_id]
    assert [each.reference for each in sending.provider.taken] == [
        picture.reference,
        place.reference,
        picture.reference,
    ]


def test_what_is_about_another_number_of_the_same_app_is_not_ours(sending: Sending) -> None:
    session = sending.session()
    body = cloud([{"id": "wamid.1", "status": "read", "timestamp": "1"}], number="555")
    assert sending.report(session, body).json["data"] == {"receipts": 0}  # type: ignore[index]


def test_the_handshake_is_answered_with_the_raw_challenge(sending: Sending) -> None:
    session = sending.session()
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
    http = sending.app.test_client()
    path = f"/webhook/{session['_id']}"
    answer = http.get(path, query_string={**asked, "hub.verify_token": VERIFY_TOKEN})
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.mimetype == "text/plain"
    refused = http.get(path, query_string={**asked, "hub.verify_token": "guess"})
    assert (refused.status_code, refused.json["status"]) == (403, False)  # type: ignore[index]


def test_what_is_signed_but_no_json_is_unreadable(sending: Sending) -> None:
    session = sending.session()
    for body in (b"", b"{", b"\x00\xff"):
        answer = sending.report(session, body)
        assert answer.status_code == 400
        assert answer.json["status"] is False  # type: ignore[index]


def test_an_odd_element_costs_the_others_nothing(sending: Sending) -> None:
    session = sending.session()
    with sending.running():
        broadcast_id = sending.broadcast(numbers(1), session)
        sending.await_completed(broadcast_id)
        (taken,) = sending.provider.taken
        odd = {"id": taken.message_id, "timestamp": "soon"}
        answer = sending.report(session, cloud([odd, {**status(taken, "read"), **odd}]))
        assert (answer.status_code, answer.json["data"]) == (200, {"receipts": 1})  # type: ignore[index]
        sending.await_state(
            f"/broadcast/{broadcast_id}", lambda shown: shown["counts"]["read"] == 1
        )


def test_receipts_without_our_reference_are_found_by_metas_id(sending: Sending) -> None:
    session = sending.session()
    with sending.running():
        people = numbers(3)
        broadcast_id = sending.broadcast(people, session)
        sending.await_completed(broadcast_id)
        said = [status(each, "read", reference=False) for each in sending.provider.taken]
        stopped = {**said[0], "status": "failed", "errors": [STOPPED]}
        assert sending.report(session, cloud([stopped, *said[1:]])).status_code == 200
        sending.await_state(
            f"/broadcast/{broadcast_id}", lambda shown: shown["counts"]["read"] == 2
        )
        opted_out = sending.client.get(f"/session/{session['_id']}/opt-out").json["data"]
        assert [each["recipient"] for each in opted_out] == [said[0]["recipient_id"]]


def test_sessions_without_a_webhook_have_none(sending: Sending) -> None:
    sandbox = sending.client.make("/session", name="sandbox", channel="sandbox")
    cloud_session = {"channel": "whatsapp_cloud"}
    for session_id in (sandbox["_id"], "0" * 24, "nonsense"):
        answer = sending.report({**cloud_session, "_id": session_id}, b"{}")
        assert answer.status_code == 404


def test_a_body_is_not_read_beyond_its_limit(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    sending = Sending(make_app(**QUICK, max_body_bytes=10_000), provider)
    session = sending.session()
    whole = cloud([]).ljust(10_000)
    assert sending.report(session, whole).status_code == 200
    answer = sending.report(session, whole + b" ")
    assert (answer.status_code, answer.json["status"]) == (413, False)  # type: ignore[index]


def test_neither_a_forged_nor_an_empty_report_waits_for_the_database_to_write(
    sending: Sending,
) -> None:
    session = sending.session()
    body = cloud([{"id": "wamid.1", "status": "read", "timestamp": "1"}])
    with sending.crier.database.writing():
        assert sending.report(session, body, "sha256=forged").status_code == 403
        assert sending.report(session, b'{"entry": []}').status_code == 200
