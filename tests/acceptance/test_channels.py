"""Channels at work: the whole service against a provider that lies as real ones do."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from service.app import Application
from tests import provider as lies
from tests.acceptance.test_webhooks import cloud, status
from tests.conftest import on_sqlite
from tests.provider import Fault, Provider, Request, graph_error, instead
from tests.sending import QUICK, SECRETS, Sending, dispatching
from tests.statements import noted
from tests.world import numbers

NUMBER = re.compile(r"1202555\d{4}")


@pytest.fixture(autouse=True)
def _logs_tell_no_secret(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Look through all that a test had logged, and hand it on."""
    yield
    logged = capsys.readouterr().err
    sys.stderr.write(logged)
    assert [secret for secret in SECRETS if secret in logged] == []
    assert NUMBER.search(logged) is None


pytestmark = pytest.mark.usefixtures("short_waits")


def make(make_app: Callable[..., Application], provider: Provider, **settings: Any) -> Sending:
    return Sending(make_app(**{**QUICK, **settings}), provider)


def told(code: int, status: int = 400, **headers: Any) -> Fault:
    """Return an answer of Meta's that refuses a message."""
    return instead(status, graph_error(code, "Meta's words"), **headers)


def recipient(request: Request) -> str:
    return str(request.json["to"])


def test_hundreds_of_people_and_one_picture_are_one_upload(sending: Sending) -> None:
    session, picture = sending.session(), sending.picture()
    with noted(sending.crier.database, "FROM uploaded_media") as looks, sending.running():
        broadcast_id = sending.broadcast(numbers(400), session, text="Look", attachments=[picture])
        shown = sending.await_completed(broadcast_id)

    assert shown["counts"]["sent"] == 400
    assert len(sending.provider.uploads) == 1
    assert len(sending.provider.taken) == 400
    (media_id,) = sending.provider.media
    assert {each.body["image"]["id"] for each in sending.provider.taken} == {media_id}
    # The messages that came first, and none once the id is known.
    assert len(looks) <= sending.crier.settings.in_flight // 8


def test_two_processes_share_one_upload(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    one, other = make(make_app, provider), make_app(**QUICK)
    session, picture = one.session(), one.picture()
    with one.running(), dispatching(other):
        broadcast_id = one.broadcast(numbers(200), session, attachments=[picture])
        one.await_completed(broadcast_id)
    assert len(provider.uploads) == 1
    assert len(provider.taken) == 200


WAIT = 1.0
BUSY = instead(503, b"<html>", Retry_After="1")
THROTTLED = instead(429, b"<html>", Retry_After="1")
STORM: list[tuple[Fault, int]] = [
    (lies.late(0.05), 10),
    (BUSY, 2),
    (instead(500, b"<html>"), 10),
    (lies.RESET_BEFORE_BODY, 10),
    (lies.RESET_AFTER_BODY, 10),
    (lies.HALF_AN_ANSWER, 10),
    (lies.GARBAGE, 10),
    (lies.WRONG_JSON, 10),
    (instead(400, {"messages": [{"id": "wamid.1"}]}, takes=True), 10),
    (lies.HUGE_ANSWER, 1),
    (lies.DRIP, 1),
    (lies.SILENCE, 1),
]
"""Faults, and how many of a hundred messages meet them; few where it costs time or memory."""


def storm(messages: int) -> list[Fault | None]:
    """Return what so many messages meet: each fault once at least, and twice a wait for all."""
    chance = random.Random(131026)  # noqa: S311 - the same storm every time
    faults, weights = zip(*STORM, strict=True)
    met: list[Fault | None] = chance.choices(
        [*faults, None], [*weights, 100 - sum(weights)], k=messages - len(faults) - 2
    )
    met.extend(faults)
    chance.shuffle(met)
    for place in (messages // 5, messages // 2):
        met.insert(place, THROTTLED)
    return met


class Storm(NamedTuple):
    """What became of a broadcast in a storm."""

    sending: Sending
    deliveries: list[dict[str, Any]]

    @property
    def taken(self) -> Counter[str]:
        return Counter(each.recipient for each in self.sending.provider.taken)

    def in_state(self, *states: str) -> set[str]:
        return {each["recipient"] for each in self.deliveries if each["status"] in states}


def weather(sending: Sending, people: list[str], **session: Any) -> Storm:
    """Send through a storm until nothing is under way, and return what is known then."""
    sending.provider.then(*storm(len(people)))
    broadcast_id = sending.broadcast(people, sending.session(**session))
    sending.await_completed(broadcast_id)
    return Storm(sending, sending.deliveries(broadcast_id))


PATIENT = {"send_timeout": 1.0, "max_attempts": 4}


@pytest.mark.parametrize(
    ("settings", "in_flight"), [("sqlite", 16), ("postgres", 512)], indirect=["settings"]
)
def test_nobody_is_lost_in_a_storm_and_nobody_gets_it_twice(
    make_app: Callable[..., Application], provider: Provider, in_flight: int
) -> None:
    sending, people = make(make_app, provider, **PATIENT, in_flight=in_flight), numbers(90)
    with sending.running():
        storm = weather(sending, people)
        assert storm.in_state("sent", "failed", "uncertain") == set(people)
        assert set(storm.taken.values()) == {1}
        assert storm.in_state("sent") <= storm.taken.keys()
        assert storm.in_state("failed").isdisjoint(storm.taken)
        assert storm.in_state("uncertain")
        assert all(each["attempts"] <= 4 for each in storm.deliveries)
        assert_waits_are_kept(provider)
    with dispatching(make_app(**QUICK)):  # which waits for every answer
        # Meta reports what it took, and what is then still uncertain may be sent again.
        session = {"_id": sending.client.get("/session").json["data"][0]["_id"]}
        session["channel"] = "whatsapp_cloud"
        sending.report(session, cloud(status(each, "delivered") for each in provider.taken))
        broadcast_id = storm.deliveries[0]["broadcast_id"]
        path = f"/broadcast/{broadcast_id}"
        sending.await_state(path, lambda b: b["counts"]["delivered"] == len(storm.taken))
        sending.client.post(f"{path}/retry", json={"statuses": ["failed", "uncertain"]})
        shown = sending.await_completed(broadcast_id)
    assert shown["counts"]["sent"] + shown["counts"]["delivered"] == len(people)
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(people, 1)


@on_sqlite
def test_only_who_chose_it_sends_again_what_may_have_arrived(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    sending, people = make(make_app, provider, **PATIENT), numbers(90)
    with sending.running():
        storm = weather(sending, people, on_uncertain="resend")
    assert storm.in_state("sent", "failed", "uncertain") == set(people)
    assert storm.in_state("sent") <= storm.taken.keys()
    assert max(storm.taken.values()) > 1
    asked = Counter(recipient(each) for each in provider.messages)
    attempts = {each["recipient"]: each["attempts"] for each in storm.deliveries}
    throttled = 2  # an attempt that is told to wait is none
    assert max(attempts.values()) <= 4
    assert all(asked[each] <= attempts[each] + throttled for each in people)
    assert_waits_are_kept(provider)


def assert_waits_are_kept(provider: Provider) -> None:
    """See that nobody was written to again before their `Retry-After`."""
    last: dict[str, Request] = {}
    for request in provider.messages:
        before = last.get(recipient(request))
        if before is not None and before.fault in {BUSY, THROTTLED}:
            # A moment is kept in whole milliseconds.
            assert request.at - before.at > WAIT - 0.002
        last[recipient(request)] = request


HOT = '{"1": [{"type": "messaging"}]}'
THROTTLING: list[Callable[[str], Fault]] = [
    lambda wait: told(130429, 400, Retry_After=wait),
    lambda wait: told(80007, 400, X_Business_Use_Case_Usage=HOT, Retry_After=wait),
    lambda wait: instead(429, b"<html>", Retry_After=wait),
]
"""How a provider throttles an account for so many seconds."""


class Throttled(NamedTuple):
    """A broadcast to twenty people, whose session is throttled at the third message."""

    sending: Sending
    session: str
    broadcast: str


Throttle = Callable[[Fault], Throttled]


@pytest.fixture
def throttle(make_app: Callable[..., Application], provider: Provider) -> Throttle:
    """Return what has a broadcast met by a fault, once the service runs."""

    def throttle(fault: Fault) -> Throttled:
        sending = make(make_app, provider, in_flight=1)
        session = sending.session()
        provider.then(None, None, fault)
        broadcast_id = sending.broadcast(numbers(20), session)
        return Throttled(sending, f"/session/{session['_id']}", f"/broadcast/{broadcast_id}")

    return throttle


@on_sqlite
@pytest.mark.parametrize("throttling", THROTTLING)
def test_a_throttled_session_rests_and_says_why(
    throttle: Throttle, provider: Provider, throttling: Callable[[str], Fault]
) -> None:
    sending, session, broadcast = throttle(throttling("3600"))
    with sending.running():
        sending.await_state(session, lambda s: s["status"] == "throttled")
        held, waits = sending.get(session), sending.get(broadcast)
        assert held["reason"]
        assert held["heldUntil"]
        assert (waits["status"], waits["reason"]) == ("sending", held["reason"])
        assert len(waits["pending"]) == 18
        # A check that succeeds meanwhile does not end it.
        checked = sending.client.post(f"{session}/check").json["data"]
        assert (checked["problem"], checked["status"]) == (None, "throttled")
    assert len(provider.messages) == 3


@on_sqlite
@pytest.mark.parametrize("throttling", THROTTLING)
def test_a_throttled_session_goes_on_by_itself(
    throttle: Throttle, provider: Provider, throttling: Callable[[str], Fault]
) -> None:
    sending, session, broadcast = throttle(throttling("1"))
    with sending.running():
        shown = sending.await_completed(broadcast.rpartition("/")[2])
    assert (shown["counts"]["sent"], shown["reason"]) == (20, None)
    refused, *others = provider.messages[2:]
    assert others[0].at - refused.at > WAIT - 0.002
    assert all(each["attempts"] == 1 for each in sending.deliveries(shown["_id"]))
    assert sending.get(session)["status"] == "ready"


@on_sqlite
def test_a_token_that_ended_blocks_the_session_until_it_can_send_again(sending: Sending) -> None:
    provider, session, people = sending.provider, sending.session(), numbers(200)
    expired = told(190, 401)
    provider.then(*[None] * 50)
    provider.choose = lambda _request: expired
    with sending.running():
        broadcast_id = sending.broadcast(people, session)
        sending.await_state(f"/session/{session['_id']}", lambda s: s["status"] == "blocked")
        held = sending.get(f"/session/{session['_id']}")
        assert (held["heldUntil"], "no longer valid" in held["reason"]) == (None, True)
        assert sending.get(f"/broadcast/{broadcast_id}")["reason"] == held["reason"]
        asked = len(provider.messages)
        assert asked <= 50 + sending.crier.settings.in_flight
        answer = sending.client.post(f"/session/{session['_id']}/check")
        assert "no longer valid" in answer.json["data"]["problem"]
        provider.choose = lambda _request: None
        shown = sending.await_completed(broadcast_id)
    assert shown["counts"]["sent"] == 200
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(people, 1)
    assert all(each["attempts"] == 1 for each in sending.deliveries(broadcast_id))


@on_sqlite
def test_a_session_is_asked_about_when_it_is_made_and_whenever_one_likes(
    sending: Sending,
) -> None:
    sending.provider.number = {"id": "1", "status": "BANNED"}
    made = sending.session(name="banned")
    assert (made["status"], made["problem"]) == ("blocked", made["reason"])
    assert "banned" in made["problem"]
    stale = sending.session(name="stale", settings={"access_token": "stale"})
    assert "no longer valid" in stale["problem"]
    away = sending.session(name="away", settings={"base_url": "http://127.0.0.1:1"})
    assert ("could not be reached" in away["problem"], away["status"]) == (True, "ready")
    sending.provider.number = {"id": "1", "status": "CONNECTED"}
    checked = sending.client.post(f"/session/{made['_id']}/check").json["data"]
    assert (checked["problem"], checked["status"], checked["reason"]) == (None, "ready", None)
    sending.provider.session_status = "SCAN_QR_CODE"
    waha = sending.session("waha")
    assert (waha["status"], "QR code" in waha["problem"]) == ("blocked", True)


@on_sqlite
def test_the_message_of_a_check_is_what_it_came_to(sending: Sending) -> None:
    blocked, away, fine = (
        sending.session(name="stale", settings={"access_token": "stale"}),
        sending.session(name="away", settings={"base_url": "http://127.0.0.1:1"}),
        sending.session(name="fine"),
    )
    messages = [
        sending.client.post(f"/session/{each['_id']}/check").json["message"]
        for each in (blocked, away, fine)
    ]
    assert messages == [
        "Session checked. It cannot send now; `reason` says why.",
        "Session checked. Whether it can send is not known; `problem` says why.",
        "Session checked successfully!",
    ]


@on_sqlite
def test_a_session_is_made_though_its_provider_hangs(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    sending = make(make_app, provider, check_timeout=0.2)
    provider.choose = lambda _request: lies.SILENCE
    made = sending.session()
    checked = sending.client.post(f"/session/{made['_id']}/check").json["data"]
    for shown in (made, checked):
        assert "did not answer within 0.2 seconds: " in shown["problem"]
        assert "status stays the same" in shown["problem"]
        assert (shown["status"], shown["reason"]) == ("ready", None)


@on_sqlite
def test_a_message_that_is_refused_pauses_its_broadcast_before_the_list_is_burnt(
    sending: Sending,
) -> None:
    provider, session, people = sending.provider, sending.session(), numbers(200)
    provider.choose = lambda _request: told(132000)
    with sending.running():
        broadcast_id = sending.broadcast(people, session)
        path = f"/broadcast/{broadcast_id}"
        sending.await_state(path, lambda b: b["status"] == "paused")
        paused = sending.get(path)
        assert paused["reason"] == "Meta's words"
        # The first refusal pauses the broadcast; who was under way with it goes back.
        assert paused["counts"]["failed"] == 1
        assert len(provider.messages) <= sending.crier.settings.in_flight // 16
        assert sending.get(f"/session/{session['_id']}")["status"] == "ready"
        provider.choose = lambda _request: None
        assert sending.client.post(f"{path}/resume").status_code == 200
        sending.await_completed(broadcast_id)
        sending.client.post(f"{path}/retry")
        sending.await_state(path, lambda b: b["counts"]["sent"] == len(people))
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(people, 1)


@on_sqlite
def test_a_code_that_nobody_knows_pauses_after_three_people(sending: Sending) -> None:
    provider, session = sending.provider, sending.session()
    provider.choose = lambda _request: told(987654)
    with sending.running():
        path = f"/broadcast/{sending.broadcast(numbers(200), session)}"
        sending.await_state(path, lambda b: b["status"] == "paused")
        paused = sending.get(path)
    assert "987654" in paused["reason"]
    assert sending.get(path)["counts"]["failed"] == paused["counts"]["failed"] == 3


@on_sqlite
def test_who_has_opted_out_is_remembered_and_left_out(sending: Sending) -> None:
    provider, session, people = sending.provider, sending.session(), numbers(10)
    provider.choose = lambda request: told(131050) if recipient(request) == people[3] else None
    with sending.running():
        first = sending.await_completed(sending.broadcast(people, session))
        provider.choose = lambda _request: None
        second = sending.await_completed(sending.broadcast(people, session))
        other = sending.session(name="another", settings={"phone_number_id": "2"})
        third = sending.await_completed(sending.broadcast(people, other))
    assert first["failed"] == second["failed"] == [people[3]]
    assert third["failed"] == []
    left_out = sending.deliveries(second["_id"])[3]
    assert (left_out["code"], left_out["attempts"]) == ("opted_out", 0)
    assert "opted out" in left_out["reason"]
    taken = [each.recipient for each in provider.taken]
    assert taken.count(people[3]) == 1


BROKEN: dict[str, Fault] = {
    "a token that ended": told(190, 401),
    "a provider that hangs up": lies.RESET_AFTER_BODY,
    "a provider that is overloaded": instead(503, b"<html>"),
    "a provider that never answers": lies.SILENCE,
}


@on_sqlite
@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in BROKEN.items()])
def test_a_broken_session_does_not_stop_a_healthy_one(
    make_app: Callable[..., Application], provider: Provider, fault: Fault
) -> None:
    sending, people = make(make_app, provider), numbers(60)
    with Provider() as other:
        broken = sending.session(name="broken", settings={"base_url": other.url})
        other.choose = lambda _request: fault
        healthy = sending.session(name="healthy")
        with sending.running():
            stuck = sending.broadcast(people, broken)
            fine = sending.broadcast(people, healthy)
            assert sending.await_completed(fine)["counts"]["sent"] == len(people)
            sending.client.delete(f"/broadcast/{stuck}")
            other.choose = lambda _request: None
            other.hang_up()
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(people, 1)


@on_sqlite
def test_waha_drops_the_repeat_of_what_nobody_answered(sending: Sending) -> None:
    provider, people = sending.provider, numbers(50)
    provider.then(*[lies.RESET_AFTER_BODY, None] * 30)
    with sending.running():
        shown = sending.await_completed(sending.broadcast(people, sending.session("waha")))
    assert shown["counts"]["sent"] == 50
    assert len(provider.messages) > 50
    taken = Counter(each.recipient.partition("@")[0] for each in provider.taken)
    assert taken == dict.fromkeys(people, 1)


@on_sqlite
def test_what_a_channel_cannot_carry_is_said_when_the_broadcast_is_made(sending: Sending) -> None:
    session = sending.session("waha")
    template = {"name": "order_ready", "language": "en"}
    order = {"send_type": "individual", "to": numbers(1), "message": {"template": template}}
    answer = sending.client.post("/broadcast", json={**order, "session_id": session["_id"]})
    assert answer.status_code == 422
    assert answer.json["errors"] == {
        "message.template": ["WAHA does not support templates. Use the text."]
    }
