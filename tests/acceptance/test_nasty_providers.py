"""Providers that behave as no document says: what becomes of deliveries, and of attempts."""

from __future__ import annotations

import random
import ssl
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from service.app import Application
from tests import provider as lies
from tests.certificates import certificate
from tests.conftest import on_sqlite
from tests.provider import Fault, Provider, Reply, Request, instead
from tests.sending import QUICK, Sending
from tests.world import numbers

pytestmark = [
    pytest.mark.usefixtures("short_waits"),
    # What a provider does is the same to both databases.
    on_sqlite,
]

PEOPLE = numbers(30)
PATIENCE: dict[str, Any] = {"send_timeout": 0.5, "max_attempts": 4}


def assert_all_is_accounted_for(provider: Provider, deliveries: list[dict[str, Any]]) -> None:
    """See that everybody has it once, or is known not to have it, or is uncertain."""
    taken = Counter(each.recipient.partition("@")[0] for each in provider.taken)
    asked = Counter(_recipient(each) for each in provider.messages)
    assert [each["recipient"] for each in deliveries] == PEOPLE
    assert set(taken.values()) <= {1}
    for each in deliveries:
        person, status = each["recipient"], each["status"]
        assert status in {"sent", "failed", "uncertain"}
        assert status != "sent" or taken[person] == 1
        assert status != "failed" or not taken[person]
        assert provider.turned_away or each["attempts"] <= asked[person]
    made = asked.total() + provider.turned_away
    assert sum(each["attempts"] for each in deliveries) <= made


def chance() -> random.Random:
    """Return a source of the same nastiness every time."""
    return random.Random(4711)  # noqa: S311 - it has to be foreseeable


def _recipient(request: Request) -> str:
    said = request.json
    return str(said.get("to") or said["chatId"].partition("@")[0])


def some(fault: Fault) -> list[Fault | None]:
    """Return what the messages meet: a fault every now and then."""
    luck = chance()
    return [fault if luck.random() < 1 / 6 else None for _ in range(4 * len(PEOPLE))]


def closing(seconds: float) -> Fault:
    """Answer as usual, and close the connection after a moment in which it may be used again."""
    luck = chance()

    def act(to: lies.Connection, usual: Reply) -> None:
        to.say(bytes(usual))
        to.close_later(luck.uniform(0, seconds))

    return Fault(act, takes=True)


NASTY = {
    "resets after half an answer": lies.HALF_AN_ANSWER,
    "resets before it has read the body": lies.RESET_BEFORE_BODY,
    "resets when it has read all": lies.RESET_AFTER_BODY,
    "answers a byte a second": lies.dripping(1.0),
    "answers with 2 MB": instead(200, {"messages": [{"id": "x" * 2_000_000}]}, takes=True),
    "closes kept connections at random": closing(0.01),
}


@pytest.mark.parametrize("channel", ["whatsapp_cloud", "waha"])
@pytest.mark.parametrize("fault", NASTY.values(), ids=list(NASTY))
def test_nobody_is_lost_or_written_to_twice_by_a_provider_that(
    make_app: Callable[..., Application], provider: Provider, channel: str, fault: Fault
) -> None:
    sending = Sending(make_app(**QUICK | PATIENCE), provider)
    provider.then(*some(fault))
    with sending.running():
        broadcast_id = sending.broadcast(PEOPLE, sending.session(channel))
        sending.await_completed(broadcast_id)
    assert_all_is_accounted_for(provider, sending.deliveries(broadcast_id))


def test_nobody_is_lost_or_written_to_twice_by_a_provider_that_accepts_and_resets(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    sending = Sending(make_app(**QUICK | PATIENCE), provider)
    luck = chance()
    provider.lets_in = lambda: luck.random() < 0.5
    with sending.running():
        broadcast_id = sending.broadcast(PEOPLE, sending.session())
        sending.await_completed(broadcast_id)
    assert_all_is_accounted_for(provider, sending.deliveries(broadcast_id))
    assert provider.taken


WAITS: dict[str, Callable[[float], str]] = {
    "nothing": lambda _: "0",
    "a date": lambda seconds: formatdate(time.time() + seconds, usegmt=True),
    "a date in the past": lambda _: formatdate(time.time() - 3600, usegmt=True),
    "a number below nothing": lambda _: "-5",
    "nonsense": lambda _: "soon",
}
"""What a provider says of the time to wait; one of them means so many seconds."""


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_everybody_gets_it_once_whatever_retry_after_says(
    sending: Sending, wait: Callable[[float], str]
) -> None:
    provider = sending.provider
    provider.then(None, instead(503, b"<html>", Retry_After=wait(1.5)))
    with sending.running():
        broadcast_id = sending.broadcast(PEOPLE, sending.session())
        shown = sending.await_completed(broadcast_id)
    assert shown["counts"]["sent"] == len(PEOPLE)
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(PEOPLE, 1)
    asked = Counter(_recipient(each) for each in provider.messages)
    attempts = {each["recipient"]: each["attempts"] for each in sending.deliveries(broadcast_id)}
    assert attempts == asked


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_an_account_that_is_throttled_rests_whatever_retry_after_says(
    sending: Sending, wait: Callable[[float], str]
) -> None:
    provider, session = sending.provider, sending.session()
    provider.then(None, instead(429, b"<html>", Retry_After=wait(3600)))
    path = f"/session/{session['_id']}"
    with sending.running():
        broadcast_id = sending.broadcast(PEOPLE, session)
        sending.await_state(path, lambda each: each["status"] == "throttled")
        assert sending.get(path)["heldUntil"]
        (refused,) = [_recipient(each) for each in provider.messages if each.fault]
        attempts = {each["recipient"]: each for each in sending.deliveries(broadcast_id)}
        assert (attempts[refused]["status"], attempts[refused]["attempts"]) == ("queued", 0)
        sending.client.delete(f"/broadcast/{broadcast_id}")
    assert max(Counter(each.recipient for each in provider.taken).values()) == 1


def test_an_expired_certificate_blocks_the_session_and_costs_nobody_an_attempt(
    make_app: Callable[..., Application], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired, valid = (certificate(tmp_path / f"{days}.pem", days) for days in (-1, 1))
    known = tmp_path / "known.pem"
    known.write_bytes(expired.read_bytes() + valid.read_bytes())
    monkeypatch.setattr("certifi.where", lambda: str(known))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(valid)
    with Provider(context) as provider:
        sending = Sending(make_app(**QUICK), provider)
        session = sending.session()
        path = f"/session/{session['_id']}"
        context.load_cert_chain(expired)
        provider.hang_up()
        with sending.running():
            broadcast_id = sending.broadcast(PEOPLE, session)
            sending.await_state(path, lambda each: each["status"] == "blocked")
            assert "certificate" in sending.get(path)["reason"]
            assert {each["attempts"] for each in sending.deliveries(broadcast_id)} == {0}
            context.load_cert_chain(valid)
            sending.await_completed(broadcast_id)
        deliveries = sending.deliveries(broadcast_id)
        assert {(each["status"], each["attempts"]) for each in deliveries} == {("sent", 1)}
        assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(PEOPLE, 1)
