"""What Meta's webhooks tell beside receipts: each has its effect, and what is unknown has none."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import Tenant
from tests.sending import PHONE_NUMBER_ID, VERIFY_TOKEN, Sending, sign
from tests.waiting import until
from tests.world import ADA, GRACE, numbers

ACCOUNT = "102290129340398"
USER_ID = "NG.13491208655302741918"
METADATA = {"display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID}


def webhook(field: str, *values: Any, account: str = ACCOUNT) -> bytes:
    """Return Meta's webhook of some changes in a field."""
    changes = [{"field": field, "value": value} for value in values]
    entry = {"id": account, "time": 1739321024, "changes": changes}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def of_number(**more: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "metadata": METADATA, **more}


def told(sending: Sending, session: dict[str, Any], body: bytes) -> None:
    answer = sending.report(session, body)
    assert answer.status_code == 200, answer.text


def opted_out(sending: Sending, session: dict[str, Any]) -> dict[str, str]:
    answer = sending.client.get(f"/session/{session['_id']}/opt-out")
    listed: Any = answer.json["data"]
    return {each["recipient"]: each["source"] for each in listed}


def contact(**more: str) -> dict[str, Any]:
    return {"profile": {"name": "Ada"}, **more}


def choice(value: str, **who: str) -> bytes:
    """Return the webhook of somebody's preference, as in Meta's reference."""
    preference = {
        **who,
        "detail": "User requested to stop marketing messages",
        "category": "marketing_messages",
        "value": value,
        "timestamp": 1739321024,
    }
    return webhook("user_preferences", of_number(user_preferences=[preference]))


def test_a_preference_is_an_opt_out_until_it_is_taken_back(sending: Sending) -> None:
    session = sending.session()
    told(sending, session, choice("stop", wa_id=ADA))
    assert opted_out(sending, session) == {ADA: "preference"}
    told(sending, session, choice("resume", wa_id=ADA))
    assert opted_out(sending, session) == {}


def test_a_person_with_a_number_and_a_user_id_is_one_person(sending: Sending) -> None:
    session = sending.session()
    contacts = [contact(wa_id=ADA, user_id=USER_ID)]
    told(sending, session, webhook("messages", of_number(contacts=contacts, statuses=[])))
    with sending.running():
        first = sending.broadcast([USER_ID, f"+{ADA}", GRACE], session)
        shown = sending.await_completed(first)
        assert shown["counts"]["total"] == 2
        assert [each.body.get("to") for each in sending.provider.taken] == [ADA, GRACE]
        stranger = sending.broadcast(["NG.4711"], session)
        sending.await_completed(stranger)
        assert sending.provider.messages[-1].json["recipient"] == "NG.4711"
        assert "to" not in sending.provider.messages[-1].json
        told(sending, session, choice("stop", user_id=USER_ID))
        assert set(opted_out(sending, session)) == {ADA, USER_ID}
        again = sending.broadcast([ADA], session)
        sending.await_completed(again)
    assert sending.deliveries(again)[0]["code"] == "opted_out"


def test_an_opt_out_under_a_user_id_counts_for_the_number_as_soon_as_it_is_known(
    sending: Sending,
) -> None:
    session = sending.session()
    told(sending, session, choice("stop", user_id=USER_ID))
    contacts = [contact(wa_id=ADA, user_id=USER_ID)]
    told(sending, session, webhook("messages", of_number(contacts=contacts)))
    assert set(opted_out(sending, session)) == {ADA, USER_ID}


@pytest.mark.parametrize("number", ["wa_id", "new_wa_id"])
def test_somebody_with_a_new_number_keeps_opt_outs_and_contact(
    sending: Sending, number: str
) -> None:
    session = sending.session()
    made = sending.client.make("/contact", name="Ada", phones=[ADA])
    sending.client.make(f"/session/{session['_id']}/opt-out", recipient=ADA)
    moved = {
        "from": ADA,
        "id": "wamid.moved",
        "timestamp": "1739321024",
        "type": "system",
        "system": {"type": "user_changed_number", "body": "Ada changed number", number: GRACE},
    }
    told(sending, session, webhook("messages", of_number(messages=[moved])))
    assert set(opted_out(sending, session)) == {ADA, GRACE}
    assert sending.get(f"/contact/{made['_id']}")["phones"] == [GRACE]
    (reply,) = sending.client.get("/reply").json["data"]
    assert (reply["kind"], reply["text"]) == ("user_changed_number", "Ada changed number")


def test_another_user_id_belongs_to_the_same_number(sending: Sending) -> None:
    session = sending.session()
    contacts = [contact(wa_id=ADA, user_id=USER_ID)]
    told(sending, session, webhook("messages", of_number(contacts=contacts)))
    changed = {
        "id": "wamid.changed",
        "timestamp": "1739321024",
        "type": "system",
        "system": {
            "type": "user_changed_user_id",
            "previous_user_id": USER_ID,
            "user_id": "NG.NEW",
        },
    }
    told(sending, session, webhook("messages", of_number(messages=[changed])))
    told(sending, session, choice("stop", wa_id=ADA))
    assert set(opted_out(sending, session)) == {ADA, USER_ID, "NG.NEW"}


def test_a_restriction_holds_the_session_until_it_ends(sending: Sending) -> None:
    session = sending.session()
    path = f"/session/{session['_id']}"
    ends = int(time.time()) + 7_200
    restrictions = [
        {"restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION", "expiration": ends + 9_999},
        {"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": ends},
    ]
    restricted = {"event": "ACCOUNT_RESTRICTION", "restriction_info": restrictions}
    with sending.running():
        told(sending, session, webhook("account_update", restricted))
        sending.await_state(path, lambda shown: shown["status"] == "throttled")
        shown = sending.get(path)
        assert "cannot start conversations until" in shown["reason"]
        assert abs(time.time() + 7_200 - ends) < 60
        quality = {
            "display_phone_number": "15550783881",
            "event": "DOWNGRADE",
            "current_limit": "TIER_1K",
        }
        told(sending, session, webhook("phone_number_quality_update", quality))
        banned = {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}
        told(sending, session, webhook("account_update", banned))
        sending.await_state(path, lambda shown: shown["status"] == "blocked")
    assert sending.get(path)["health"] == {
        "account": "DISABLED_UPDATE DISABLE",
        "number": "15550783881",
        "event": "DOWNGRADE",
        "limit": "TIER_1K",
    }


def test_a_paused_template_pauses_its_broadcasts_with_the_reason(sending: Sending) -> None:
    session = sending.session()
    template = {"name": "sale", "language": "en_US"}
    mine = sending.broadcast([ADA], session, template=template)
    other = sending.broadcast([ADA], session, template={**template, "language": "fr"})
    update = {
        "event": "PAUSED",
        "message_template_id": 1,
        "message_template_name": "sale",
        "message_template_language": "en_US",
        "reason": "NONE",
        "other_info": {"title": "FIRST_PAUSE", "description": "Paused for 3 hours."},
    }
    told(sending, session, webhook("message_template_status_update", update, account="7"))
    paused = sending.get(f"/broadcast/{mine}")
    assert (paused["status"], sending.get(f"/broadcast/{other}")["status"]) == ("paused", "sending")
    assert "'sale': paused (Paused for 3 hours.)" in paused["reason"]


def test_the_price_class_of_a_message_is_kept(sending: Sending) -> None:
    session = sending.session()
    with sending.running():
        broadcast_id = sending.broadcast([ADA], session)
        sending.await_completed(broadcast_id)
        (taken,) = sending.provider.taken
        pricing = {
            "billable": True,
            "pricing_model": "PMP",
            "type": "regular",
            "category": "marketing",
        }
        status = {
            "id": taken.message_id,
            "status": "delivered",
            "timestamp": "1750030073",
            "recipient_id": ADA,
            "recipient_user_id": USER_ID,
            "pricing": pricing,
        }
        told(sending, session, webhook("messages", of_number(statuses=[status])))
        until(lambda: sending.deliveries(broadcast_id)[0]["status"] == "delivered")
    assert sending.deliveries(broadcast_id)[0]["pricing"] == "PMP regular marketing billable"


def test_an_app_has_one_webhook_for_all_its_numbers(sending: Sending, globex: Tenant) -> None:
    mine = sending.session()
    other = sending.session(name="second", settings={"phone_number_id": "4711"})
    elsewhere = sending.session(name="third", settings={"business_account_id": "1"})
    http = sending.app.test_client()
    query = {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1158"}
    assert http.get("/webhook/whatsapp_cloud", query_string=query).text == "1158"
    query["hub.verify_token"] = "wrong"
    assert http.get("/webhook/whatsapp_cloud", query_string=query).status_code == 403

    def report(body: bytes, signature: str = "") -> int:
        header, own = sign("whatsapp_cloud", body)
        headers = {header: signature or own}
        return http.post("/webhook/whatsapp_cloud", data=body, headers=headers).status_code

    stop = choice("stop", wa_id=ADA)
    assert report(stop, "sha256=00") == 403
    assert report(stop) == 200
    assert [len(opted_out(sending, each)) for each in (mine, other, elsewhere)] == [1, 0, 1]
    quality = {"display_phone_number": "1", "event": "ONBOARDING", "current_limit": "TIER_250"}
    assert report(webhook("phone_number_quality_update", quality)) == 200
    healths = [sending.get(f"/session/{each['_id']}")["health"] for each in (mine, elsewhere)]
    assert [health and health["limit"] for health in healths] == ["TIER_250", None]
    foreign = stop.replace(PHONE_NUMBER_ID.encode(), b"999")
    assert report(foreign) == 200
    assert globex.get("/reply").json["data"] == []


UNKNOWN: list[bytes] = [
    webhook("flows", {"event": "FLOW_STATUS_CHANGE"}),
    webhook("security", None),
    webhook("account_update", {"event": "VERIFIED_ACCOUNT"}, None, 7),
    webhook("account_update", {"event": "ACCOUNT_RESTRICTION", "restriction_info": [{}]}),
    webhook("message_template_status_update", {"event": "APPROVED"}),
    webhook("user_preferences", of_number(user_preferences=[{"value": "maybe"}, 7])),
    webhook("messages", of_number(messages=[{"id": "w", "type": "system", "system": 7}])),
    webhook("messages", of_number(messages=[{"id": "x"}, None], contacts=[7])),
]


@pytest.mark.parametrize("body", UNKNOWN)
def test_what_is_unknown_is_answered_200_and_changes_nothing(sending: Sending, body: bytes) -> None:
    session = sending.session()
    told(sending, session, body)
    shown = sending.get(f"/session/{session['_id']}")
    assert shown["reason"] is None
    assert opted_out(sending, session) == {}
    assert sending.client.get("/reply").json["data"] == []


def test_numbers_alone_are_taken_where_the_channel_knows_no_user_ids(sending: Sending) -> None:
    session = sending.session("waha")
    order = {"send_type": "individual", "to": [*numbers(1), USER_ID], "message": {"text": "Hi"}}
    answer = sending.client.post("/broadcast", json={**order, "session_id": session["_id"]})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["to.1"])
