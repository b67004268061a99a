"""Webhooks that are forged, replayed, huge or out of order cost little and mislead nobody."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from service.core import opt_outs, webhooks
from service.core.deliveries.opted_out import OptOutOwner
from tests.acceptance.test_opting_out import written
from tests.acceptance.test_vendors import choice, contact, of_number, opted_out, told, webhook
from tests.sending import Sending, sign
from tests.statements import noted
from tests.world import ADA, GRACE, JOAN

USER_ID = "NG.13491208655302741918"


def of_app(sending: Sending, body: bytes, signature: str = "") -> int:
    """Send the webhook of an app, and return the status of the answer."""
    header, own = sign("whatsapp_cloud", body)
    http = sending.app.test_client()
    headers = {header: signature or own}
    return http.post("/webhook/whatsapp_cloud", data=body, headers=headers).status_code


def test_a_stranger_who_names_very_many_numbers_is_refused(sending: Sending) -> None:
    sending.session()
    numbers = [{"phone_number_id": str(10_000_000 + number)} for number in range(70_000)]
    body = json.dumps(numbers).encode()
    assert of_app(sending, body, "sha256=00") == 403
    assert of_app(sending, body) == 200


def test_a_stranger_has_only_so_many_secrets_tried(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        sending.session(name=f"other {number}", settings={"app_secret": f"other-{number % 2}"})
    sending.session()
    body = webhook("account_update", {"event": "VERIFIED_ACCOUNT"})
    assert of_app(sending, body) == 200
    monkeypatch.setattr(webhooks, "_MOST_HASHED", len(body))
    assert of_app(sending, body) == 403


def test_user_ids_are_learnt_from_receipts(sending: Sending) -> None:
    session = sending.session()
    status = {"id": "wamid.1", "status": "sent", "recipient_id": ADA, "timestamp": "1"}
    told(
        sending,
        session,
        webhook("messages", of_number(statuses=[{**status, "recipient_user_id": USER_ID}])),
    )
    told(sending, session, choice("stop", user_id=USER_ID))
    assert set(opted_out(sending, session)) == {ADA, USER_ID}


def test_thousands_of_new_people_in_one_webhook_are_learnt_at_once(sending: Sending) -> None:
    session = sending.session()
    told(sending, session, choice("stop", user_id="NG.4711"))
    people = [
        contact(wa_id=str(2348170000000 + number), user_id=f"NG.{number}")
        for number in range(5_000)
    ]
    with noted(sending.crier.database) as statements:
        told(sending, session, webhook("messages", of_number(contacts=people, statuses=[])))
    assert len(statements) < len(people) / 10
    assert set(opted_out(sending, session)) == {"NG.4711", "2348170004711"}
    more = webhook("messages", of_number(contacts=[*people, contact(wa_id="1", user_id="NG.X")]))
    assert sending.report(session, more).status_code == 413


def test_a_person_who_moves_twice_in_one_webhook_has_the_last_number(sending: Sending) -> None:
    session = sending.session()
    made = sending.client.make("/contact", name="Ada", phones=[ADA])
    moves = [
        {
            "from": former,
            "id": f"wamid.{number}",
            "timestamp": "1739321024",
            "type": "system",
            "system": {"type": "user_changed_number", "body": "Moved", "wa_id": number},
        }
        for former, number in ((ADA, GRACE), (GRACE, JOAN))
    ]
    told(sending, session, webhook("messages", of_number(messages=moves)))
    assert sending.get(f"/contact/{made['_id']}")["phones"] == [JOAN]
    assert (
        sending.report(session, webhook("messages", of_number(messages=moves * 251))).status_code
        == 413
    )


def chosen(value: str, at: int) -> bytes:
    return choice(value, wa_id=ADA).replace(b"1739321024", str(at).encode())


def test_a_preference_counts_by_when_it_was_chosen(sending: Sending) -> None:
    session = sending.session()
    told(sending, session, chosen("stop", 2_000))
    told(sending, session, chosen("resume", 1_000))
    assert set(opted_out(sending, session)) == {ADA}
    told(sending, session, chosen("resume", 3_000))
    assert opted_out(sending, session) == {}


@pytest.mark.parametrize(
    ("first", "second", "is_out"), [("START", "STOP", False), ("STOP", "START", True)]
)
def test_a_keyword_counts_by_when_it_was_written(
    sending: Sending,
    first: str,
    second: str,
    is_out: bool,  # noqa: FBT001
) -> None:
    """The one that was written first comes last."""
    session = sending.session()
    told(sending, session, written(first, "wamid.2", timestamp="1750030073"))
    told(sending, session, written(second, "wamid.1", timestamp="1750030072"))
    assert (ADA in opted_out(sending, session)) is is_out


def test_a_message_from_the_future_opens_no_longer_window(sending: Sending) -> None:
    session = sending.session()
    told(sending, session, written("Hi", "wamid.1", timestamp="9999999999"))
    (reply,) = sending.client.get("/reply").json["data"]
    assert reply["writtenAt"] <= reply["createdAt"]
    told(sending, session, written("STOP", "wamid.2", timestamp=str(int(time.time()))))
    assert set(opted_out(sending, session)) == {ADA}


def test_a_replayed_webhook_changes_nothing_again(sending: Sending) -> None:
    session = sending.session()
    stop, start = written("STOP", "wamid.1"), written("START", "wamid.2")
    for body in (stop, start, stop, stop):
        told(sending, session, body)
    assert opted_out(sending, session) == {}
    assert len(sending.client.get("/reply").json["data"]) == 2


def test_a_thousand_stops_in_one_webhook_hold_when_it_is_answered(sending: Sending) -> None:
    session = sending.session()
    people = [str(2348170000000 + number) for number in range(1_000)]
    messages: list[dict[str, Any]] = [
        {
            "from": each,
            "id": f"wamid.{each}",
            "timestamp": "1750030073",
            "type": "text",
            "text": {"body": "STOP"},
        }
        for each in people
    ]
    broadcast_id = sending.broadcast(people, session)
    with noted(sending.crier.database) as statements:
        told(sending, session, webhook("messages", of_number(messages=messages)))
    assert len(statements) < len(people) / 10
    whose = OptOutOwner(sending.client.id, session["_id"])
    with sending.crier.database.reading() as db:
        assert opt_outs.among(db, whose, people) == set(people)
    with sending.running():
        assert sending.await_completed(broadcast_id)["counts"]["failed"] == 1_000
    assert sending.provider.taken == []
