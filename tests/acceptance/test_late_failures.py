"""What a provider took first and reports as failed later: judged as in an answer."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.acceptance.test_webhooks import LAGOS, UNDELIVERABLE, cloud, status
from tests.conftest import on_sqlite
from tests.provider import Fault, Request, Taken, instead
from tests.sending import PHONE_NUMBER_ID, Sending
from tests.waiting import until
from tests.world import numbers


def failed(taken: Taken, code: int) -> dict[str, Any]:
    return {**status(taken, "failed"), "errors": [{**UNDELIVERABLE, "code": code}]}


def statuses(sending: Sending, broadcast_id: str) -> list[str]:
    return [each["status"] for each in sending.deliveries(broadcast_id)]


@on_sqlite
@pytest.mark.parametrize("code", [131031, 131042])
def test_a_fault_of_the_account_that_comes_by_receipt_burns_nobody(
    sending: Sending, code: int
) -> None:
    session = sending.session(rate=5.0)
    unfit = instead(200, {"id": PHONE_NUMBER_ID, "status": "RESTRICTED"})
    sending.provider.choose = lambda request: unfit if request.method == "GET" else None
    with sending.running():
        broadcast_id = sending.broadcast(numbers(100), session)
        sending.await_state(f"/broadcast/{broadcast_id}", lambda shown: len(shown["sent"]) >= 3)
        first = sending.provider.taken[:3]
        sending.report(session, cloud(failed(each, code) for each in first))
        path = f"/session/{session['_id']}"
        sending.await_state(path, lambda shown: shown["status"] == "blocked")
        until(lambda: "sending" not in statuses(sending, broadcast_id))
        shown = sending.get(f"/broadcast/{broadcast_id}")
        assert shown["counts"]["failed"] == 0
        assert shown["counts"]["sent"] < 60
        people = {each.recipient for each in first}
        again = [each for each in sending.deliveries(broadcast_id) if each["recipient"] in people]
        assert {(each["status"], each["attempts"]) for each in again} == {("queued", 0)}


def test_a_message_that_is_refused_for_all_by_receipt_pauses_its_broadcast(
    sending: Sending,
) -> None:
    session = sending.session(rate=5.0)
    with sending.running():
        broadcast_id = sending.broadcast(numbers(100), session)
        path = f"/broadcast/{broadcast_id}"
        sending.await_state(path, lambda shown: len(shown["sent"]) >= 3)
        first = sending.provider.taken[:3]
        sending.report(session, cloud(failed(each, 132001) for each in first))
        sending.await_state(path, lambda shown: shown["status"] == "paused")
        assert sending.get(path)["counts"]["failed"] == 3


def test_what_failed_for_a_passing_cause_is_sent_again(sending: Sending) -> None:
    session = sending.session()
    with sending.running():
        broadcast_id = sending.broadcast(numbers(2), session, text="Hello", location=LAGOS)
        sending.await_completed(broadcast_id)
        first = sending.provider.taken[0]
        said = cloud([failed(first, 131000)])
        for _ in range(2):
            sending.report(session, said)
        until(lambda: len(sending.provider.taken) == 5)
        sending.await_completed(broadcast_id)
        references = [each.reference for each in sending.provider.taken]
        assert references.count(first.reference) == 2
        sending.report(session, said)
        sending.report(session, cloud(status(each, "read") for each in sending.provider.taken[1:]))
        sending.await_state(
            f"/broadcast/{broadcast_id}", lambda shown: shown["counts"]["read"] == 2
        )
        assert len(sending.provider.taken) == 5


@pytest.mark.parametrize("said", ["FAILED", "SCAN_QR_CODE"])
def test_waha_tells_of_its_session(sending: Sending, said: str) -> None:
    session = sending.session("waha")

    def tell(status: str, shown: str) -> None:
        event = {"event": "session.status", "session": "default", "payload": {"status": status}}
        assert sending.report(session, json.dumps(event).encode()).status_code == 200
        sending.await_state(
            f"/session/{session['_id']}", lambda session: session["status"] == shown
        )

    with sending.running():
        tell(said, "blocked")
        tell("WORKING", "ready")


def written(seconds: float) -> str:
    """Return a moment to the minute, as the API writes it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M}"


def test_a_restricted_number_is_left_alone_until_its_date(sending: Sending) -> None:
    ends = (time.time() + 630) // 60 * 60 + 30
    lock = {"isActive": True, "enforcementType": "DEFAULT", "timeEnforcementEnds": ends}
    restricted = instead(500, {"exception": {"message": "server returned error 463"}})
    known = instead(200, {"status": "WORKING", "me": {"reachoutTimelock": lock}})

    def choose(request: Request) -> Fault | None:
        if request.path.startswith("/api/send"):
            return restricted
        return known if request.path == "/api/sessions/default" else None

    session = sending.session("waha")
    sending.provider.choose = choose
    path = f"/session/{session['_id']}"
    with sending.running():
        broadcast_id = sending.broadcast(numbers(1), session)
        sending.await_state(path, lambda shown: shown["status"] == "throttled")
        asked = len(sending.provider.requests)
        assert sending.get(path)["heldUntil"].startswith(written(ends))
        assert sending.client.post(f"{path}/check").status_code == 200
        assert sending.get(path)["heldUntil"].startswith(written(ends))
        shown = sending.get(f"/broadcast/{broadcast_id}")
        assert (shown["counts"]["failed"], shown["status"]) == (0, "sending")
        (delivery,) = sending.deliveries(broadcast_id)
        assert (delivery["status"], delivery["attempts"]) == ("queued", 0)
    assert sum(each.path.startswith("/api/send") for each in sending.provider.requests) == 1
    assert len(sending.provider.requests) == asked + 1
