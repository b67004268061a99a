"""What Meta's webhooks tell beside receipts: each has its effect, and what is unknown has none."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy import text

from tests.conftest import Tenant, on_sqlite
from tests.provider import Taken, graph_error, instead
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
        assert sorted(each.recipient for each in sending.provider.taken) == sorted([ADA, GRACE])
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
    sending.broadcast([GRACE], session)
    with sending.running():
        until(lambda: sending.client.get(f"/delivery?recipient={ADA}").json["data"])
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


SALE = {"name": "sale", "language": "en_US"}


def of_template(event: str, at: int = 1739321024, **more: Any) -> bytes:
    """Return the webhook of what happened to a template at a moment."""
    update = {
        "event": event,
        "message_template_id": 1,
        "message_template_name": SALE["name"],
        "message_template_language": SALE["language"],
        "reason": "NONE",
        **more,
    }
    entry = webhook("message_template_status_update", update, account="7")
    return entry.replace(b"1739321024", str(at).encode())


PAUSE = {"title": "FIRST_PAUSE", "description": "Paused for 3 hours."}


def state(sending: Sending, *broadcasts: str) -> list[str]:
    return [sending.get(f"/broadcast/{each}")["status"] for each in broadcasts]


def test_a_paused_template_pauses_its_broadcasts_until_it_can_be_used_again(
    sending: Sending,
) -> None:
    session = sending.session()
    mine = sending.broadcast([ADA], session, template=SALE)
    other = sending.broadcast([ADA], session, template={**SALE, "language": "fr"})
    by_client = sending.broadcast([ADA], session, template=SALE)
    sending.client.post(f"/broadcast/{by_client}/pause")
    kept = sending.broadcast([ADA], session, template=SALE)
    told(sending, session, of_template("PAUSED", other_info=PAUSE))
    paused = sending.get(f"/broadcast/{mine}")
    assert state(sending, mine, other, kept) == ["paused", "sending", "paused"]
    assert paused["reason"] == (
        "WhatsApp says of the template 'sale': paused (Paused for 3 hours.). It goes on by itself"
        " when WhatsApp says that the template can be used again."
    )
    assert sending.client.post(f"/broadcast/{kept}/pause").status_code == 200
    told(sending, session, of_template("LOCKED"))
    assert state(sending, mine) == ["paused"]
    told(sending, session, of_template("APPROVED"))
    assert state(sending, mine, by_client, kept) == ["sending", "paused", "paused"]
    assert sending.get(f"/broadcast/{mine}")["reason"] is None


def test_what_is_said_of_a_template_counts_in_the_order_in_which_it_happened(
    sending: Sending,
) -> None:
    session = sending.session()
    broadcast_id = sending.broadcast([ADA], session, template=SALE)
    told(sending, session, of_template("PAUSED", at=2_000))
    told(sending, session, of_template("APPROVED", at=1_000))
    assert state(sending, broadcast_id) == ["paused"]
    unpaused = {"title": "UNPAUSE", "description": "Unpaused."}
    told(sending, session, of_template("UNLOCKED", at=3_000, other_info=unpaused))
    told(sending, session, of_template("PAUSED", at=2_500))
    assert state(sending, broadcast_id) == ["sending"]


def test_a_template_that_was_refused_is_looked_for_in_the_list(sending: Sending) -> None:
    callback = {"url": "https://1.1.1.1/hook", "events": ["broadcast.resumed"]}
    path = f"/callback/{sending.client.make('/callback', **callback)['_id']}/event"
    account = {"business_account_id": ACCOUNT}
    session = sending.session(settings=account, concurrency=1)
    sending.provider.templates = [{**SALE, "status": "APPROVED"}]
    error = graph_error(132015, "Template is paused", "Paused for low quality.")
    sending.provider.then(instead(400, error))
    with sending.running():
        broadcast_id = sending.broadcast([ADA, GRACE], session, template=SALE)
        sending.await_state(f"/broadcast/{broadcast_id}", lambda shown: shown["reason"])
        assert "It goes on by itself" in sending.get(f"/broadcast/{broadcast_id}")["reason"]
        with sending.crier.database.writing() as db:
            db.execute(text("UPDATE sessions SET templates_at = 0"))
        sending.await_completed(broadcast_id)
        (event,) = sending.client.get(path).json["data"]
    assert event["type"] == "broadcast.resumed"
    assert [each["code"] for each in sending.deliveries(broadcast_id)] == ["132015", None]


def charged(taken: Taken, status: str, *, billable: bool) -> dict[str, Any]:
    """Return a receipt that says how a message is charged."""
    kind = ("regular", "marketing") if billable else ("free_customer_service", "service")
    pricing = {"billable": billable, "pricing_model": "PMP", "type": kind[0], "category": kind[1]}
    return {
        "id": taken.message_id,
        "status": status,
        "timestamp": "1750030073",
        "recipient_id": taken.recipient,
        "pricing": pricing,
    }


def test_a_report_tells_what_a_broadcast_costs_and_how_it_is_charged(sending: Sending) -> None:
    prices = {"currency": "EUR", "countries": {"NG": 0.05, "US": 0.1}}
    session = sending.session(prices=prices)
    america = numbers(1)[0]
    with sending.running():
        broadcast_id = sending.broadcast([ADA, GRACE, america], session)
        sending.await_completed(broadcast_id)
        taken = {each.recipient: each for each in sending.provider.taken}
        path = f"/broadcast/{broadcast_id}/report"
        report = sending.get(path)
        cost = {"currency": "EUR", "expected": "0.2", "charged": None, "unpriced": 0}
        assert (report["cost"], report["charges"]) == (cost, [])

        def tell(*statuses: dict[str, Any]) -> dict[str, Any]:
            told(sending, session, webhook("messages", of_number(statuses=list(statuses))))
            table = text("SELECT count(*) FROM waiting_receipts")

            def is_applied() -> bool:
                with sending.crier.database.reading() as db:
                    return not db.scalar(table)

            until(is_applied)
            return sending.get(path)

        report = tell(
            charged(taken[ADA], "delivered", billable=True),
            charged(taken[GRACE], "delivered", billable=False),
            charged(taken[america], "delivered", billable=True),
        )
        assert report["cost"]["charged"] == "0.15"
        assert report["charges"] == [
            {"pricing": "PMP regular marketing billable", "deliveries": 2},
            {"pricing": "PMP free_customer_service service free", "deliveries": 1},
        ]
        again = tell(
            charged(taken[ADA], "delivered", billable=True),
            charged(taken[ADA], "read", billable=True),
        )
        assert again["charges"] == report["charges"]
        assert tell(charged(taken[GRACE], "read", billable=True))["charges"] == [
            {"pricing": "PMP regular marketing billable", "deliveries": 3}
        ]
    assert {each["pricing"] for each in sending.deliveries(broadcast_id)} == {
        "PMP regular marketing billable"
    }
    sending.client.put(f"/session/{session['_id']}", json={"prices": None})
    assert sending.get(path)["cost"] is None


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


@on_sqlite
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


def test_what_meta_holds_back_is_pending_until_a_receipt_tells(sending: Sending) -> None:
    session = sending.session()
    sending.provider.message_status = "held_for_quality_assessment"
    template = {"name": "sale", "language": "en_US"}
    with sending.running():
        broadcast_id = sending.broadcast([ADA, GRACE], session, template=template)
        path = f"/broadcast/{broadcast_id}"
        until(lambda: {each["status"] for each in sending.deliveries(broadcast_id)} == {"held"})
        shown = sending.get(path)
        assert (shown["status"], shown["counts"]["pending"], shown["sent"]) == ("sending", 2, [])
        taken = {each.recipient: each.message_id for each in sending.provider.taken}
        dropped = {"code": 132015, "title": "Template is paused"}
        statuses = [
            {"id": taken[ADA], "status": "sent", "timestamp": "1", "recipient_id": ADA},
            {
                "id": taken[GRACE],
                "status": "failed",
                "timestamp": "1",
                "recipient_id": GRACE,
                "errors": [dropped],
            },
        ]
        told(sending, session, webhook("messages", of_number(statuses=statuses)))
        sending.await_completed(broadcast_id)
    ends = {each["recipient"]: each["status"] for each in sending.deliveries(broadcast_id)}
    assert ends == {ADA: "sent", GRACE: "failed"}


TEMPLATES: list[dict[str, Any]] = [
    {
        "name": "sale",
        "language": "en_US",
        "status": "APPROVED",
        "category": "MARKETING",
        "quality_score": {"score": "GREEN"},
        "rejected_reason": "NONE",
        "components": [
            {"type": "HEADER", "format": "IMAGE"},
            {"type": "BODY", "text": "Hi {{1}}, {{2}} off"},
            {"type": "BUTTONS", "buttons": [{"type": "URL", "url": "https://a.example/{{1}}"}]},
        ],
    },
    {"name": "sale", "language": "fr", "status": "PAUSED", "category": "MARKETING"},
    {"name": "plain", "language": "en_US", "status": "APPROVED", "category": "UTILITY"},
]


def test_templates_are_listed_from_the_provider_and_kept(sending: Sending) -> None:
    sending.provider.templates = TEMPLATES
    session = sending.session(settings={"business_account_id": ACCOUNT})
    path = f"/session/{session['_id']}/template"
    listed: Any = sending.get(path)
    assert [(each["name"], each["language"], each["status"]) for each in listed] == [
        ("plain", "en_US", "APPROVED"),
        ("sale", "en_US", "APPROVED"),
        ("sale", "fr", "PAUSED"),
    ]
    assert (listed[1]["category"], listed[1]["quality"]) == ("MARKETING", "GREEN")
    assert listed[1]["parameters"] == [
        {"component": "header", "names": ["image"]},
        {"component": "body", "names": ["1", "2"]},
        {"component": "button", "index": 0, "names": ["1"]},
    ]
    asked = len(sending.provider.requests)
    assert sending.get(path) == listed
    assert len(sending.provider.requests) == asked
    assert len(sending.client.get(f"{path}?refresh=true").json["data"]) == 3
    assert len(sending.provider.requests) == asked + 3
    other = sending.session("waha")
    assert not sending.get(f"/session/{other['_id']}/template")
    unnamed = sending.session(name="unnamed")
    refused = sending.client.get(f"/session/{unnamed['_id']}/template")
    assert (refused.status_code, "business_account_id" in refused.text) == (502, True)


def words_of(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


IMAGE = {"type": "image", "image": {"link": "https://a.example/a.png"}}


@on_sqlite
@pytest.mark.parametrize(
    ("template", "field", "words"),
    [
        (
            {"name": "none", "language": "fr"},
            "name",
            "has no template 'none'. There are plain, sale",
        ),
        ({"name": "plain", "language": "fr"}, "name", "has no language 'fr'. It has en_US"),
        ({"name": "sale", "language": "fr"}, "name", "paused"),
        (
            {"name": "sale", "language": "en_US"},
            "components",
            "The body takes 2 parameters (1, 2); 0",
        ),
        (
            {
                "name": "plain",
                "language": "en_US",
                "components": [{"type": "body", "parameters": [words_of("x")]}],
            },
            "components",
            "The body takes 0 parameters; 1",
        ),
    ],
)
def test_a_template_that_cannot_be_sent_is_refused_when_the_broadcast_is_made(
    sending: Sending, template: dict[str, Any], field: str, words: str
) -> None:
    sending.provider.templates = TEMPLATES
    session = sending.session(settings={"business_account_id": ACCOUNT})
    order = {"send_type": "individual", "to": [ADA], "message": {"template": template}}
    answer = sending.client.post("/broadcast", json={**order, "session_id": session["_id"]})
    assert answer.status_code == 422, answer.text
    reasons: Any = answer.json["errors"][f"message.template.{field}"]
    assert any(words in reason for reason in reasons), reasons


def test_a_template_with_its_parameters_is_taken(sending: Sending) -> None:
    sending.provider.templates = TEMPLATES
    session = sending.session(settings={"business_account_id": ACCOUNT})
    components = [
        {"type": "header", "parameters": [IMAGE]},
        {"type": "body", "parameters": [words_of("Ada"), words_of("5 %")]},
        {"type": "button", "sub_type": "url", "index": "0", "parameters": [words_of("x")]},
    ]
    template = {"name": "sale", "language": "en_US", "components": components}
    assert sending.broadcast([ADA], session, template=template)


def test_numbers_are_resolved_once_before_sending_where_asked(sending: Sending) -> None:
    session = sending.session("waha", settings={"resolve": True})
    known, gone = "5511987654321", numbers(1)[0]
    sending.provider.exists = {known: "551187654321@c.us", gone: "", ADA: "123456789@lid"}
    with sending.running():
        sending.await_completed(sending.broadcast([known, gone, ADA], session))
        broadcast_id = sending.broadcast([known, gone, ADA], session)
        sending.await_completed(broadcast_id)
        lid = next(each for each in sending.provider.taken if each.recipient.endswith("@lid"))
        ack = {"id": f"true_123456789@lid_{lid.message_id}", "ack": 3, "fromMe": True}
        said = {"event": "message.ack", "session": "default", "payload": ack}
        told(sending, session, json.dumps(said).encode())
    chats = [each.recipient for each in sending.provider.taken]
    assert sorted(chats) == ["123456789@lid"] * 2 + ["551187654321@c.us"] * 2
    asked = [each for each in sending.provider.requests if each.path.endswith("check-exists")]
    assert len(asked) == 3
    codes = {each["recipient"]: each["code"] for each in sending.deliveries(broadcast_id)}
    assert codes[gone] == "not_on_whatsapp"


PLAIN = {"name": "plain", "language": "en_US"}


def test_who_wrote_in_the_last_day_gets_the_text_and_all_others_the_template(
    sending: Sending,
) -> None:
    session = sending.session()
    wrote = {"from": ADA, "id": "wamid.in", "type": "text", "text": {"body": "Hello?"}}
    long_ago = {
        **wrote,
        "from": GRACE,
        "id": "wamid.old",
        "timestamp": str(int(time.time()) - 90_000),
    }
    told(sending, session, webhook("messages", of_number(messages=[wrote, long_ago])))
    message = {"text": "Hi {{name}}", "template": {**PLAIN, "when": "outside_window"}}
    order = {
        "send_type": "individual",
        "to": [{"to": ADA, "variables": {"name": "Ada"}}, GRACE],
        "message": message,
        "variables": {"name": "you"},
        "session_id": session["_id"],
    }
    preview = sending.client.post("/broadcast?dry_run=true", json=order)
    assert preview.json["data"]["window"] == {"inside": 1, "outside": 1}, preview.text
    with sending.running():
        broadcast_id = sending.client.make("/broadcast", **order)["_id"]
        assert sending.await_completed(broadcast_id)["counts"]["sent"] == 2
    sent = {each.recipient: each.body for each in sending.provider.taken}
    assert sent[ADA]["text"]["body"] == "Hi Ada"
    assert sent[GRACE]["template"]["name"] == "plain"
    for rest in ({}, {"text": "Hi", "location": {"lat": "1", "lng": "1"}}):
        odd = {**order, "message": {**rest, "template": message["template"]}, "to": [GRACE]}
        answer = sending.client.post("/broadcast", json={**odd, "variables": {}})
        assert list(answer.json["errors"]) == ["message.template.when"], answer.text


def test_a_text_with_a_category_and_a_marketing_template_go_their_own_ways(
    sending: Sending,
) -> None:
    session = sending.session()
    with sending.running():
        sending.await_completed(sending.broadcast([ADA], session, text="Hi", category="utility"))
        template = {**PLAIN, "marketing": True}
        sending.await_completed(sending.broadcast([ADA], session, template=template))
    direct, marketing = sending.provider.requests[-2:]
    assert (direct.json["category"], direct.json["text"]["body"]) == ("utility", "Hi")
    assert marketing.path.endswith("/marketing_messages")
    order = {
        "send_type": "individual",
        "to": [ADA],
        "message": {"text": "Hi", "category": "utility"},
    }
    other = sending.session("waha")
    answer = sending.client.post("/broadcast", json={**order, "session_id": other["_id"]})
    assert list(answer.json["errors"]) == ["message.category"]
