"""What a client decides after it has posted, over HTTP, with everything behind it at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import update

from service.app import Application
from service.channels.drivers import sandbox
from service.database import now_ms
from service.dispatch.dispatcher import Dispatcher
from service.models import Broadcast
from service.parts import make_dispatcher
from tests.conftest import Tenant
from tests.waiting import LIMIT, until
from tests.world import ADA, GRACE, numbers

QUICK: dict[str, Any] = {
    "dispatch": "threads",
    "in_flight": 4,
    "poll_interval": 0.1,
    "sweep_interval": 0.1,
    "flush_interval": 0.01,
    "retry_base": 0.02,
    "retry_cap": 0.04,
    "max_attempts": 3,
}

SLOW = 0.2
"""Seconds for a message, of which four are under way: three hundred take a quarter of a minute."""

MakeApp = Callable[..., Application]


@pytest.fixture
def serve(make_app: MakeApp) -> Iterator[Callable[..., Application]]:
    """Return what builds an application that also dispatches, until the test ends."""
    started: list[Dispatcher] = []

    def start(**changes: Any) -> Application:
        app = make_app(**{**QUICK, **changes})
        dispatcher = make_dispatcher(app.extensions["crier"])
        dispatcher.start()
        started.append(dispatcher)
        return app

    yield start
    for dispatcher in started:
        dispatcher.stop(LIMIT)


class Client(Tenant):
    """A client with a sandbox session that takes a while over each message."""

    def __init__(self, app: Application, name: str = "Acme", **settings: Any) -> None:
        super().__init__(app, name)
        self.session = self.make("/session", name="sandbox", channel="sandbox", settings=settings)

    def hasten(self) -> None:
        """Have the session take no longer over a message from now on."""
        answer = self.put(f"/session/{self.session['_id']}", json={"settings": {}})
        assert answer.status_code == 200, answer.text

    def set_moment(self, broadcast_id: str, **moments: int) -> None:
        """Have a moment of a broadcast come as no client can: at once, or long ago."""
        change = update(Broadcast).where(Broadcast.id == broadcast_id).values(**moments)
        with self.crier.database.writing() as db:
            db.execute(change)

    def send(self, to: list[str], **order: Any) -> str:
        """Post a broadcast and return its id."""
        wanted = {"send_type": "individual", "to": to, "message": {"text": "Hello"}, **order}
        return str(self.make("/broadcast", **wanted)["_id"])

    def see(self, broadcast_id: str) -> dict[str, Any]:
        seen: dict[str, Any] = self.get(f"/broadcast/{broadcast_id}").get_json()["data"]
        return seen

    def deliveries(self, broadcast_id: str) -> list[dict[str, Any]]:
        answer = self.get(f"/broadcast/{broadcast_id}/delivery?page_size=1000")
        listed: list[dict[str, Any]] = answer.get_json()["data"]
        return listed

    def await_count(self, broadcast_id: str, state: str, count: int) -> None:
        until(lambda: self.see(broadcast_id)["counts"][state] >= count)

    def await_status(self, broadcast_id: str, status: str) -> None:
        until(lambda: self.see(broadcast_id)["status"] == status)

    def arrivals(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.get("/sandbox/message?page_size=1000").get_json()[
            "data"
        ]
        return listed

    def arrived(self) -> Counter[str]:
        return Counter(message["recipient"] for message in self.arrivals())


def in_the_future(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_broadcast_is_told_from_acceptance_to_its_end(serve: Callable[..., Application]) -> None:
    acme = Client(serve())
    everybody = [ADA, *sandbox.MAGIC, GRACE]
    everybody.remove(sandbox.SLOW)
    everybody.remove(sandbox.THROTTLED)
    broadcast_id = acme.send(everybody)
    acme.await_status(broadcast_id, "completed")
    seen = acme.see(broadcast_id)
    failed = [sandbox.UNREACHABLE, sandbox.FLAKY]
    assert seen["sent"] == [each for each in everybody if each not in failed]
    assert seen["failed"] == failed
    assert seen["pending"] == []
    assert seen["completedAt"] is not None
    told = {each["recipient"]: each for each in acme.deliveries(broadcast_id)}
    assert list(told) == everybody
    assert {who: told[who]["attempts"] for who in everybody} == {
        ADA: 1,
        GRACE: 1,
        sandbox.UNREACHABLE: 1,
        sandbox.RETRIED: 2,
        sandbox.UNCERTAIN: 2,
        sandbox.FLAKY: 3,
    }
    assert told[sandbox.UNREACHABLE]["code"] == "not_on_channel"
    assert acme.arrived() == dict.fromkeys(seen["sent"], 1)


def test_a_paused_broadcast_waits_and_is_resumed(serve: Callable[..., Application]) -> None:
    acme = Client(serve(), latency=SLOW)
    broadcast_id = acme.send(numbers(300))
    acme.await_count(broadcast_id, "sent", 8)
    paused = acme.post(f"/broadcast/{broadcast_id}/pause").get_json()
    assert paused["data"]["status"] == "paused"
    assert acme.post(f"/broadcast/{broadcast_id}/pause").status_code == 409
    until(lambda: not in_state(acme, broadcast_id, "sending"))
    assert acme.see(broadcast_id)["counts"]["sent"] < 300
    before = acme.arrived().total()
    assert before == acme.see(broadcast_id)["counts"]["sent"]
    acme.hasten()
    assert acme.post(f"/broadcast/{broadcast_id}/resume").status_code == 200
    acme.await_status(broadcast_id, "completed")
    assert acme.arrived() == dict.fromkeys(numbers(300), 1)


def test_a_deleted_broadcast_is_sent_no_further(serve: Callable[..., Application]) -> None:
    app = serve()
    acme = Client(app, latency=SLOW)
    broadcast_id = acme.send(numbers(300))
    acme.await_count(broadcast_id, "sent", 8)
    assert acme.delete(f"/broadcast/{broadcast_id}").get_json()["data"]["status"] == "cancelled"
    assert acme.get(f"/broadcast/{broadcast_id}").status_code == 404
    # Its session is free to be deleted as soon as everything under way is accounted for.
    session = f"/session/{acme.session['_id']}"
    until(lambda: acme.delete(session).status_code == 200)
    total, _ = sandbox.received(
        app.extensions["crier"].settings.sandbox_store, [acme.session["_id"]], 0, 0
    )
    assert 8 <= total < 300


def test_a_scheduled_broadcast_starts_at_its_time(serve: Callable[..., Application]) -> None:
    acme = Client(serve())
    later = acme.send([ADA, GRACE], send_at=in_the_future(3_600))
    assert acme.see(later)["status"] == "scheduled"
    assert acme.see(later)["pending"] in ([], [ADA, GRACE])
    moment = in_the_future(0.5)
    broadcast_id = acme.send([ADA, GRACE], send_at=moment)
    acme.await_status(broadcast_id, "completed")
    started_at = datetime.fromisoformat(moment).timestamp() * 1000
    assert min(message["received_at"] for message in arrivals_raw(acme)) >= int(started_at)


def test_a_broadcast_deleted_before_its_time_is_never_sent(
    serve: Callable[..., Application],
) -> None:
    acme = Client(serve())
    broadcast_id = acme.send([ADA], send_at=in_the_future(3_600))
    acme.delete(f"/broadcast/{broadcast_id}")
    acme.set_moment(broadcast_id, send_at=1)
    later = acme.send([GRACE], send_at=in_the_future(0.1))
    acme.await_status(later, "completed")
    assert acme.arrived() == {GRACE: 1}


def test_what_is_unsent_when_a_broadcast_expires_fails_and_can_be_retried(
    serve: Callable[..., Application],
) -> None:
    acme = Client(serve(), latency=SLOW)
    broadcast_id = acme.send(numbers(300), expires_at=in_the_future(3_600))
    acme.await_count(broadcast_id, "sent", 8)
    acme.set_moment(broadcast_id, expires_at=now_ms())
    acme.await_status(broadcast_id, "completed")
    counts = acme.see(broadcast_id)["counts"]
    assert counts["sent"] + counts["failed"] == 300
    assert counts["failed"] > 0
    acme.hasten()
    assert {each["code"] for each in acme.deliveries(broadcast_id)} == {None, "expired"}
    assert acme.post(f"/broadcast/{broadcast_id}/retry").status_code == 200
    acme.await_count(broadcast_id, "sent", 300)
    acme.await_status(broadcast_id, "completed")
    assert acme.arrived() == dict.fromkeys(numbers(300), 1)


def test_an_uncertain_delivery_is_held_until_the_client_has_it_retried(
    serve: Callable[..., Application],
) -> None:
    acme = Client(serve(), idempotent=False)
    broadcast_id = acme.send([ADA, sandbox.UNCERTAIN])
    acme.await_status(broadcast_id, "completed")
    seen = acme.see(broadcast_id)
    assert (seen["sent"], seen["pending"], seen["failed"]) == ([ADA], [sandbox.UNCERTAIN], [])
    assert seen["counts"]["uncertain"] == 1
    assert acme.post(f"/broadcast/{broadcast_id}/retry").status_code == 409
    body = {"statuses": ["uncertain"]}
    assert acme.post(f"/broadcast/{broadcast_id}/retry", json=body).status_code == 200
    until(lambda: acme.see(broadcast_id)["sent"] == [ADA, sandbox.UNCERTAIN])
    acme.await_status(broadcast_id, "completed")
    # The second copy is what the client has chosen.
    assert acme.arrived() == {ADA: 1, sandbox.UNCERTAIN: 2}


def test_a_client_that_chose_so_has_uncertain_deliveries_sent_again(
    serve: Callable[..., Application],
) -> None:
    acme = Client(serve(), idempotent=False)
    chosen = {"on_uncertain": "resend"}
    assert acme.put(f"/session/{acme.session['_id']}", json=chosen).status_code == 200
    broadcast_id = acme.send([sandbox.UNCERTAIN])
    acme.await_count(broadcast_id, "sent", 1)
    assert acme.arrived() == {sandbox.UNCERTAIN: 2}


def test_a_session_whose_key_is_lost_waits_to_be_mended_and_holds_nobody_up(
    make_app: MakeApp, serve: Callable[..., Application]
) -> None:
    first_key, second_key = (Fernet.generate_key().decode() for _ in range(2))
    before = Tenant(make_app(secret_key=first_key, private_addresses=True), "Before")
    secret = {"base_url": "http://127.0.0.1:9", "api_key": "waha-key"}
    made = before.make("/session", name="phone", channel="waha", settings=secret)
    wanted = {"send_type": "individual", "to": numbers(20), "message": {"text": "Hello"}}
    waiting = before.make("/broadcast", **wanted)["_id"]

    acme = Client(serve(secret_key=second_key, private_addresses=True))
    going = acme.send(numbers(20))
    acme.await_status(going, "completed")

    def held() -> bool:
        session = before.get(f"/session/{made['_id']}").get_json()["data"]
        return bool(session["status"] == "blocked" and "SealedError" in session["reason"])

    until(held)
    seen = before.get(f"/broadcast/{waiting}").get_json()["data"]
    assert (seen["status"], seen["counts"]["pending"]) == ("sending", 20)


def in_state(tenant: Client, broadcast_id: str, status: str) -> int:
    answer = tenant.get(f"/broadcast/{broadcast_id}/delivery?status={status}")
    return len(answer.get_json()["data"])


def arrivals_raw(tenant: Client) -> list[dict[str, Any]]:
    store = tenant.crier.settings.sandbox_store
    return sandbox.received(store, [tenant.session["_id"]], 0, 1000)[1]
