"""Sessions over HTTP: accounts whose secrets never come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from service.app import Application
from service.core import holding
from service.models import FOREVER, Broadcast, BroadcastStatus, OnUncertain, Session, UploadedMedia
from tests.blueprints.test_attachments import finish, send
from tests.conftest import Tenant, on_sqlite

CLOUD = {
    "name": "cloud",
    "channel": "whatsapp_cloud",
    "settings": {"access_token": "EAAG-secret", "phone_number_id": "106540352242922"},
}


def sandbox(tenant: Tenant, name: str = "main", **fields: Any) -> dict[str, Any]:
    made = tenant.make("/session", name=name, channel="sandbox", **fields)
    assert made.pop("problem") is None
    assert made.pop("access_token").startswith("crier_session_")
    return made


def row(tenant: Tenant, session_id: str) -> Session:
    with tenant.crier.database.reading() as db:
        return db.get_one(Session, session_id)


def test_a_session_has_defaults_for_all_that_is_left_out(acme: Tenant) -> None:
    made = sandbox(acme)
    assert made["status"] == "ready"
    assert made["default"] is True
    assert made["on_uncertain"] == "hold"
    assert made["settings"] == {"idempotent": True, "latency": 0.0, "unreachable": False}
    unset = ("rate", "concurrency", "max_attempts", "reason", "heldUntil")
    assert [made[name] for name in unset] == [None] * 5
    assert acme.get(f"/session/{made['_id']}").json["data"] == made


def test_secrets_are_encrypted_and_only_their_names_are_shown(acme: Tenant) -> None:
    made = acme.make("/session", **CLOUD)
    assert made["secrets"] == ["access_token"]
    assert made["settings"]["phone_number_id"] == "106540352242922"
    assert "access_token" not in made["settings"]
    for path in ("/session", f"/session/{made['_id']}"):
        assert "EAAG" not in acme.get(path).text
    held = row(acme, made["_id"])
    assert "EAAG" not in f"{held.settings} {held.secrets}"
    assert acme.crier.vault.decrypt(held.secrets) == {"access_token": "EAAG-secret"}


ELSEWHERE = ["https://evil.example", "http://graph.facebook.com", "https://graph.facebook.com:8443"]


@on_sqlite
@pytest.mark.parametrize("base_url", [*ELSEWHERE, "https://graph.facebook.com:999999"])
def test_secrets_do_not_follow_to_another_server(acme: Tenant, base_url: str) -> None:
    secrets = {"access_token": "EAAG-secret", "app_secret": "0123456789abcdef"}
    plain = {"phone_number_id": "106540352242922"}
    made = acme.make("/session", **{**CLOUD, "settings": {**plain, **secrets}})
    path, moved = f"/session/{made['_id']}", {**plain, "base_url": base_url}

    refused = [
        acme.put(path, json={"settings": moved}),
        acme.put(path, json={"settings": {**moved, "access_token": "EAAG-other"}}),
    ]

    assert [each.status_code for each in refused] == [422, 422]
    named = [list(each.json["errors"]) for each in refused]
    assert named == [["settings.access_token", "settings.app_secret"], ["settings.app_secret"]]
    assert "now names another server" in refused[0].text
    kept = row(acme, made["_id"])
    assert kept.settings["base_url"] == "https://graph.facebook.com"
    assert acme.crier.vault.decrypt(kept.secrets) == secrets
    anew = {**moved, "access_token": "EAAG-other", "app_secret": ""}
    assert acme.put(path, json={"settings": anew}).status_code == 200
    assert acme.crier.vault.decrypt(row(acme, made["_id"]).secrets) == {
        "access_token": "EAAG-other"
    }
    # Leaving the address out means the channel's own, another server again.
    assert acme.put(path, json={"settings": plain}).status_code == 422


@pytest.mark.parametrize(
    "base_url",
    [
        "https://graph.facebook.com:443",
        "https://GRAPH.facebook.com/",
        "https://graph.facebook.com/a",
    ],
)
def test_secrets_stay_on_the_same_server(acme: Tenant, base_url: str) -> None:
    made = acme.make("/session", **CLOUD)
    settings = {"phone_number_id": "106540352242922", "base_url": base_url}

    assert acme.put(f"/session/{made['_id']}", json={"settings": settings}).status_code == 200


def test_a_secret_that_a_change_leaves_out_stays(acme: Tenant) -> None:
    made = acme.make("/session", **CLOUD)
    path = f"/session/{made['_id']}"
    changed = acme.put(path, json={"settings": {"phone_number_id": "106540352242923"}})
    assert changed.status_code == 200, changed.text
    data = changed.json["data"]
    assert data["settings"]["phone_number_id"] == "106540352242923"
    secrets = row(acme, made["_id"]).secrets
    assert acme.crier.vault.decrypt(secrets) == {"access_token": "EAAG-secret"}
    acme.put(path, json={"settings": {**CLOUD["settings"], "access_token": "EAAG-new"}})  # type: ignore[dict-item]
    secrets = row(acme, made["_id"]).secrets
    assert acme.crier.vault.decrypt(secrets) == {"access_token": "EAAG-new"}


@on_sqlite
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"channel": "carrier_pigeon"}, "channel"),
        ({"settings": {"phone_number_id": "106540352242922"}}, "settings.access_token"),
        ({"settings": {"nonsense": 1}}, "settings.nonsense"),
        ({"settings": [1]}, "settings"),
        ({"name": ""}, "name"),
        ({"rate": 0}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 10_001}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2.5}, "max_attempts"),
        ({"on_uncertain": "guess"}, "on_uncertain"),
        ({"default": "yes"}, "default"),
        ({"status": "ready"}, "status"),
    ],
)
def test_each_fault_is_named_and_nothing_is_stored(
    acme: Tenant, change: dict[str, Any], field: str
) -> None:
    answer = acme.post("/session", json={**CLOUD, **change})
    assert answer.status_code == 422
    assert field in answer.json["errors"]
    assert acme.get("/session").json["data"] == []


def test_an_unknown_channel_is_answered_with_the_known_ones(acme: Tenant) -> None:
    answer = acme.post("/session", json={"name": "x", "channel": "pigeon"})
    [reason] = answer.json["errors"]["channel"]
    assert "sandbox" in reason
    assert "whatsapp_cloud" in reason


def test_a_name_is_unique_within_a_client(acme: Tenant, globex: Tenant) -> None:
    sandbox(acme)
    sandbox(globex)
    other = sandbox(acme, "other")
    assert acme.post("/session", json={"name": "main", "channel": "sandbox"}).status_code == 409
    assert acme.put(f"/session/{other['_id']}", json={"name": "main"}).status_code == 409


def defaults(tenant: Tenant) -> list[str]:
    listed = tenant.get("/session").json["data"]
    return [session["name"] for session in listed if session["default"]]


def test_a_taken_name_is_refused_of_one_that_becomes_the_default(acme: Tenant) -> None:
    main, other = sandbox(acme), sandbox(acme, "other")
    taken = acme.put(f"/session/{other['_id']}", json={"name": "main", "default": True})
    assert taken.status_code == 409, taken.text
    assert taken.json["errors"] == {"name": ["You already have a session named 'main'."]}
    assert row(acme, main["_id"]).is_default


def test_there_is_always_exactly_one_default(acme: Tenant, globex: Tenant) -> None:
    first = sandbox(acme, "first")
    second = sandbox(acme, "second")
    sandbox(globex, "theirs")
    assert defaults(acme) == ["first"]
    sandbox(acme, "third", default=True)
    assert defaults(acme) == ["third"]
    acme.put(f"/session/{second['_id']}", json={"default": True})
    assert defaults(acme) == ["second"]
    refused = acme.put(f"/session/{second['_id']}", json={"default": False})
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["default"])
    assert acme.put(f"/session/{first['_id']}", json={"default": False}).status_code == 200
    assert defaults(acme) == ["second"]
    assert defaults(globex) == ["theirs"]


def test_the_default_is_the_last_to_be_deleted(acme: Tenant) -> None:
    first, second = sandbox(acme, "first"), sandbox(acme, "second")
    assert acme.delete(f"/session/{first['_id']}").status_code == 409
    assert acme.delete(f"/session/{second['_id']}").json["data"] == second
    assert acme.delete(f"/session/{first['_id']}").status_code == 200
    assert acme.get("/session").json["data"] == []


def test_the_channel_of_a_session_cannot_change(acme: Tenant) -> None:
    path = f"/session/{sandbox(acme)['_id']}"
    assert acme.put(path, json={"channel": "sandbox"}).status_code == 200
    assert acme.put(path, json={"channel": "waha"}).status_code == 422


def test_null_takes_a_limit_away_and_leaving_it_out_does_not(acme: Tenant) -> None:
    limits: dict[str, Any] = {"rate": 2.5, "concurrency": 7, "max_attempts": 3}
    path = f"/session/{sandbox(acme, **limits, on_uncertain='resend')['_id']}"
    kept = acme.put(path, json={"name": "renamed"}).json["data"]
    assert {name: kept[name] for name in limits} == limits
    assert kept["on_uncertain"] == OnUncertain.RESEND
    taken = acme.put(path, json=dict.fromkeys(limits)).json["data"]
    assert {name: taken[name] for name in limits} == dict.fromkeys(limits)


def test_a_change_of_an_older_version_is_refused(acme: Tenant) -> None:
    path = f"/session/{sandbox(acme)['_id']}"
    assert acme.put(path, json={"name": "renamed", "__v": 0}).status_code == 200
    assert acme.put(path, json={"name": "again", "__v": 0}).status_code == 409


def hold(tenant: Tenant, session_id: str, until: int) -> None:
    with tenant.crier.database.writing() as db:
        session = db.get_one(Session, session_id)
        session.held_until, session.hold_reason = until, "No credit."


def test_any_change_sets_a_blocked_session_going_again(acme: Tenant) -> None:
    made = sandbox(acme)
    hold(acme, made["_id"], FOREVER)
    path = f"/session/{made['_id']}"
    shown = acme.get(path).json["data"]
    assert (shown["status"], shown["reason"]) == ("blocked", "No credit.")
    mended = acme.put(path, json={}).json["data"]
    assert (mended["status"], mended["reason"]) == ("ready", None)


def test_only_new_settings_end_a_throttle_before_its_time(acme: Tenant) -> None:
    made = sandbox(acme)
    hold(acme, made["_id"], 2**42)
    path = f"/session/{made['_id']}"
    waiting = acme.put(path, json={"name": "renamed"}).json["data"]
    assert (waiting["status"], waiting["heldUntil"]) == ("throttled", "2109-05-15T07:35:11.104Z")
    same = acme.put(path, json=waiting).json["data"]
    assert (same["status"], same["heldUntil"]) == ("throttled", waiting["heldUntil"])
    changed = acme.put(path, json={"settings": {"latency": 1.5}}).json["data"]
    assert (changed["status"], changed["heldUntil"]) == ("ready", None)


def test_a_blocked_session_that_is_changed_still_waits_for_its_date(acme: Tenant) -> None:
    made = sandbox(acme)
    with acme.crier.database.writing() as db:
        for until in (2**42, None):
            holding.hold_session(db, made["_id"], f"Until {until}.", until=until, now=0)
    mended = acme.put(f"/session/{made['_id']}", json={"name": "renamed"}).json["data"]
    assert (mended["status"], mended["reason"]) == ("throttled", f"Until {2**42}.")


def test_new_settings_make_the_uploads_of_the_old_account_forgotten(acme: Tenant) -> None:
    made = sandbox(acme)
    file = send(acme).json["data"]["_id"]
    with acme.crier.database.writing() as db:
        db.add(
            UploadedMedia(session_id=made["_id"], attachment_id=file, provider_id="1", expires_at=1)
        )
    acme.put(f"/session/{made['_id']}", json={"settings": {"latency": 1.5}})
    with acme.crier.database.reading() as db:
        assert db.scalars(select(UploadedMedia)).all() == []


def test_an_unfinished_broadcast_keeps_its_session_and_a_finished_one_forgets_it(
    acme: Tenant,
) -> None:
    made = sandbox(acme)
    broadcast = acme.make(
        "/broadcast", send_type="individual", to="2348179803743", message={"text": "Hi"}
    )
    assert broadcast["session_id"] == made["_id"]
    refusal = acme.delete(f"/session/{made['_id']}")
    assert refusal.status_code == 409
    assert "needs this session until" in refusal.json["message"]
    finish(acme.crier, broadcast["_id"], BroadcastStatus.COMPLETED, 1)
    assert acme.delete(f"/session/{made['_id']}").status_code == 200
    with acme.crier.database.reading() as db:
        assert db.get_one(Broadcast, broadcast["_id"]).session_id is None


def test_a_broadcast_goes_through_the_session_it_names(acme: Tenant) -> None:
    sandbox(acme, "default")
    other = sandbox(acme, "other")
    made = acme.make(
        "/broadcast",
        session_id=other["_id"],
        send_type="individual",
        to="2348179803743",
        message={"text": "Hi"},
    )
    assert made["session_id"] == other["_id"]


def test_without_any_session_a_broadcast_is_refused(acme: Tenant) -> None:
    order = {"send_type": "individual", "to": "2348179803743", "message": {"text": "Hi"}}
    answer = acme.post("/broadcast", json=order)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["session_id"]


def test_a_session_whose_key_is_not_here_is_blocked_and_says_so(
    make_app: Callable[..., Application],
) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    before = Tenant(make_app(secret_key=old), "Acme")
    path = f"/session/{before.make('/session', **CLOUD)['_id']}"
    after = Tenant(make_app(secret_key=new), "Globex")
    after.token = before.token
    shown = after.get(path).get_json()["data"]
    assert (shown["status"], "credentials is missing" in shown["reason"]) == ("blocked", True)
    assert after.get("/session").get_json()["data"] == [shown]
    assert before.get(path).get_json()["data"]["status"] == "ready"


def test_no_secret_is_stored_with_a_key_that_no_other_process_has(
    make_app: Callable[..., Application],
) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    Tenant(make_app(secret_key=old), "Acme").make("/session", **CLOUD)
    answer = Tenant(make_app(secret_key=new), "Globex").post("/session", json=CLOUD)
    assert answer.status_code == 503
    assert "SECRET_KEY" in answer.get_json()["message"]
