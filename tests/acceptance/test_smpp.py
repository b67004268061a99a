"""SMPP from the request to the report, with an SMSC on the loopback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.app import Application
from tests.certificates import certificate
from tests.conftest import Tenant, on_sqlite
from tests.sending import QUICK, dispatching
from tests.smsc import Smsc, needs_smsc
from tests.waiting import until
from tests.world import ADA, GRACE, numbers

pytest.importorskip("smpplib", reason="the optional package smpplib is not installed")
pytestmark = needs_smsc


@pytest.fixture
def app(make_app: Callable[..., Application]) -> Application:
    return make_app(**QUICK)


class Account:
    """A client with a session at an SMSC."""

    def __init__(self, app: Application, smsc: Smsc, **settings: Any) -> None:
        self.client = Tenant(app, "Acme")
        given = {"base_url": smsc.url, "system_id": "crier", "password": "secret", **settings}
        self.session = self.client.make("/session", name="sms", channel="smpp", settings=given)
        self.path = f"/session/{self.session['_id']}"

    def send(self, to: list[str], text: str = "Hello", **fields: Any) -> str:
        order = {"send_type": "individual", "to": to, "message": {"text": text}, **fields}
        made = self.client.make("/broadcast", session_id=self.session["_id"], **order)
        return str(made["_id"])

    def shown(self, path: str) -> Any:
        return self.client.get(path).json["data"]

    def counts(self, broadcast_id: str) -> dict[str, int]:
        counts: dict[str, int] = self.shown(f"/broadcast/{broadcast_id}")["counts"]
        return counts

    def states(self, broadcast_id: str) -> dict[str, tuple[str, str | None]]:
        listed = self.shown(f"/broadcast/{broadcast_id}/delivery")
        return {each["recipient"]: (each["status"], each["code"]) for each in listed}


@contextmanager
def account(app: Application, behaviour: dict[str, Any], **settings: Any) -> Iterator[Any]:
    with Smsc(**behaviour) as smsc:
        yield smsc, Account(app, smsc, **settings)


def test_a_broadcast_goes_through_the_bind_and_its_receipts_come_back(app: Application) -> None:
    with account(app, {"refuse": {GRACE: 0xB}}, sender="+12025550110") as (smsc, mine):
        assert (mine.session["problem"], mine.session["secrets"]) == (None, ["password"])
        with dispatching(app):
            made = mine.send(
                [ADA, GRACE], "Hi {{name}}", personalise=True, variables={"name": "you"}
            )
            refused = ("failed", "ESME_RINVDSTADR")
            until(lambda: mine.states(made) == {ADA: ("sent", None), GRACE: refused})
            submitted = {each["to"]: each for each in smsc.of("submit")}
            assert submitted[ADA]["text"] == "Hi you"
            assert submitted[ADA]["from"] == ["12025550110", 1, 1]
            smsc.say(order="receipt", **{"from": ADA, "id": submitted[ADA]["id"]})
            until(lambda: mine.states(made)[ADA] == ("delivered", None))
            stop = {"source_addr": ADA, "destination_addr": "1", "short_message": "Stop."}
            smsc.say(order="deliver", **stop)
            until(lambda: len(smsc.of("confirmed")) == 2)
            assert [each["recipient"] for each in mine.shown(f"{mine.path}/opt-out")] == [ADA]
            again = mine.send([ADA])
            until(lambda: mine.shown(f"/broadcast/{again}")["status"] == "completed")
    assert [each["status"] for each in smsc.of("confirmed")] == [0, 0]
    assert (len(smsc.of("submit")), len(smsc.of("unbound"))) == (2, 2)


def test_a_receipt_of_failure_fails_the_delivery(app: Application) -> None:
    with account(app, {}) as (smsc, mine), dispatching(app):
        made = mine.send([ADA])
        until(lambda: mine.states(made) == {ADA: ("sent", None)})
        known_as = smsc.of("submit")[0]["id"]
        said = {"from": ADA, "id": known_as, "stat": "EXPIRED", "err": "027"}
        smsc.say(order="receipt", **said)
        until(lambda: mine.states(made) == {ADA: ("failed", "EXPIRED")})
        (failed,) = mine.shown(f"/broadcast/{made}/delivery")
        assert failed["reason"] == "The phone was unreachable for too long. Error 027."


@on_sqlite
def test_of_a_dropped_connection_only_the_window_is_uncertain(app: Application) -> None:
    people = numbers(600)
    with account(app, {"latency": 20, "drop_every": 300}) as (smsc, mine), dispatching(app):
        made = mine.send(people)
        until(lambda: mine.shown(f"/broadcast/{made}")["status"] == "completed")
        counts = mine.counts(made)
    drops = len(smsc.of("gone"))
    accepted = Counter(each["to"] for each in smsc.of("submit"))
    assert counts["sent"] + counts["uncertain"] == len(people)
    assert drops >= 2
    assert 0 < counts["uncertain"] <= 10 * drops
    assert set(accepted.values()) == {1}, "somebody got it twice"
    uncertain = {each for each, (status, _) in _all(mine, made).items() if status == "uncertain"}
    assert set(people) - uncertain <= accepted.keys()


def _all(mine: Account, made: str) -> dict[str, tuple[str, str]]:
    listed = mine.shown(f"/broadcast/{made}/delivery?page_size=1000")
    return {each["recipient"]: (each["status"], each["code"]) for each in listed}


@on_sqlite
def test_an_smsc_that_throttles_gets_everything_in_its_own_time(app: Application) -> None:
    people = numbers(30)
    with account(app, {"most_per_second": 12}) as (smsc, mine), dispatching(app):
        made = mine.send(people)
        until(lambda: mine.counts(made)["sent"] == len(people))
        assert {each["attempts"] for each in mine.shown(f"/broadcast/{made}/delivery")} == {1}
    assert {each["status"] for each in smsc.of("submit")} == {0, 0x58}


@on_sqlite
def test_a_refused_bind_blocks_the_session_until_it_is_mended(app: Application) -> None:
    with account(app, {}, password="wrong") as (smsc, mine), dispatching(app):
        assert mine.session["problem"] == "The SMSC refuses the password."
        made = mine.send([ADA])
        until(lambda: mine.shown(mine.path)["status"] == "blocked")
        settings = {**mine.session["settings"], "password": "secret"}
        assert mine.client.put(mine.path, json={"settings": settings}).status_code == 200
        until(lambda: mine.states(made) == {ADA: ("sent", None)})
        assert mine.shown(mine.path)["status"] == "ready"
    assert len(smsc.of("submit")) == 1


def test_an_smsc_that_is_gone_holds_the_session_and_burns_no_attempt(app: Application) -> None:
    with Smsc() as smsc:
        mine = Account(app, smsc)
    with dispatching(app):
        made = mine.send([ADA])
        until(lambda: "could not be reached" in (mine.shown(mine.path)["reason"] or ""))
        assert mine.shown(mine.path)["status"] == "throttled"
        assert mine.counts(made)["pending"] == 1


@on_sqlite
def test_over_tls_the_certificate_must_be_known(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path / "known.pem")
    with account(app, {"certificate": str(path)}) as (_, mine):
        assert "certificate" in mine.session["problem"]
        monkeypatch.setattr("certifi.where", lambda: str(path))
        with dispatching(app):
            made = mine.send([ADA])
            until(lambda: mine.states(made) == {ADA: ("sent", None)})


def test_one_process_binds_and_another_takes_over_when_it_stops(
    make_app: Callable[..., Application],
) -> None:
    first, second = make_app(**QUICK), make_app(**QUICK)
    with account(first, {}) as (smsc, mine), dispatching(second):
        with dispatching(first):
            made = mine.send([ADA])
            until(lambda: mine.states(made) == {ADA: ("sent", None)})
        again = mine.send([GRACE])
        until(lambda: mine.states(again) == {GRACE: ("sent", None)})
    # The first bind is the check of the new session.
    assert 2 <= len(smsc.of("bound")) <= 3
