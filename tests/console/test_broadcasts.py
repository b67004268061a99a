"""Broadcasts, as somebody without scripts sees it."""

from __future__ import annotations

import re

from sqlalchemy import text

from service.core import clients, costs
from service.core.costs import ChargeKey
from service.models import DeliveryStatus
from tests.blueprints.test_broadcasts import NUMBERS, deliver, make
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser
from tests.statements import noted

pytestmark = on_sqlite

USER_ID = "US.13491208655302741918"
FRAGMENT = {"HX-Request": "true"}


def test_people_are_shown_with_the_values_that_they_brought(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    ada = {"to": NUMBERS[0], "variables": {"name": "Ada <b>", "city": "Lagos"}}
    text = "Hi {{name|there}} in {{city|town}}"
    made = make(acme, to=[ada, NUMBERS[1]], message={"text": text})["_id"]
    deliver(acme, made, DeliveryStatus.FAILED, DeliveryStatus.SENT)
    visitor = ConsoleUser(acme)
    for page in (f"/broadcasts/{made}", f"/broadcasts/{made}/people?status=failed"):
        assert "Ada &lt;b&gt; · Lagos" in visitor.get(page).text
    assert "Lagos" not in visitor.get(f"/broadcasts/{made}/people?status=sent").text


def test_a_cancelled_broadcast_can_be_found_and_read_but_not_changed(
    acme: Tenant, globex: Tenant
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    order = {"send_type": "individual", "to": "12025550110", "send_at": "2999-07-01T12:00:00Z"}
    order["expires_at"] = "2999-07-02T12:00:00Z"
    made = acme.make("/broadcast", **order, message={"text": "Good evening"})
    acme.make("/broadcast", **order, message={"text": "Good morning"})
    visitor, stranger = ConsoleUser(acme), ConsoleUser(globex)
    path = f"/broadcasts/{made['_id']}"
    assert visitor.post(f"{path}/cancel").headers["Location"] == f"/console{path}"
    page = visitor.get(path).text
    assert "Removed from the list" in page
    assert "Good evening" in page
    assert not re.search(rf'action="/console{path}/', page)
    for part in ("/live", "/people", "/recipients.csv"):
        assert visitor.get(path + part).status_code == 200
        assert stranger.get(path + part).status_code == 404
    listed, removed = (visitor.get(f"/broadcasts{query}").text for query in ("", "?state=removed"))
    assert ("Good evening" in listed, "Good morning" in listed) == (False, True)
    assert ("Good evening" in removed, "Good morning" in removed) == (True, False)
    assert "Good evening" in visitor.get("/broadcasts?state=removed&q=evening").text
    assert "Good evening" not in stranger.get("/broadcasts?state=removed").text
    assert visitor.post(f"{path}/pause").status_code == 404


def test_a_broadcast_shows_what_it_costs(acme: Tenant, globex: Tenant) -> None:
    prices = {"currency": "EUR", "countries": {"NG": 0.25}}
    acme.make("/session", name="main", channel="sandbox", prices=prices)
    order = {"to": [*NUMBERS[:2], "12025550110"], "message": {"text": "Hi"}}
    made = make(acme, **order)["_id"]
    visitor, stranger = ConsoleUser(acme), ConsoleUser(globex)
    page, cost = f"/broadcasts/{made}", f"/broadcasts/{made}/cost"
    deliver(acme, made, DeliveryStatus.SENT, DeliveryStatus.SENT)
    shown = visitor.get(page).text
    assert re.search(r"If everybody gets it</dt><dd>€0.50", shown)
    assert "not known yet" in shown
    assert "One recipient is in a country without a price." in shown
    with acme.crier.database.writing() as db:
        costs.note(db, {ChargeKey(made, "PMP regular marketing billable", "NG"): 2})
    for path in (page, cost):
        shown = visitor.get(path, headers={"Accept-Language": "fr"}).text
        assert re.search("Facturé[^<]*</dt><dd>0,50\N{NO-BREAK SPACE}€", shown), path
        assert "PMP regular marketing billable" in shown
    assert stranger.get(cost).status_code == 404


def test_a_broadcast_without_prices_shows_no_cost(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    made = make(acme)["_id"]
    assert re.search(
        r'<section id="cost"[^>]* hidden', ConsoleUser(acme).get(f"/broadcasts/{made}").text
    )


def test_a_poll_takes_few_statements_and_passes_no_deliveries_one_by_one(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    made = make(acme, to=NUMBERS, message={"text": "Hi"})["_id"]
    deliver(acme, made, DeliveryStatus.FAILED)
    visitor, database = ConsoleUser(acme), acme.crier.database
    for path, most in ((f"/broadcasts/{made}/live", 7), ("/live", 8), ("/broadcasts", 4)):
        visitor.get(path, headers=FRAGMENT)
        with noted(database, "SELECT") as statements:
            visitor.get(path, headers=FRAGMENT)
        asked = [each for each in statements if each.sql.startswith("SELECT")]
        assert len(asked) <= most, path
        for statement, values in asked:
            with database.engine.connect() as db:
                plan = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                steps = [row[3] for row in plan]
            assert [step for step in steps if re.match("SCAN (deliveries|broadcasts)", step)] == []


def test_a_user_id_is_searched_for_as_a_number_is(acme: Tenant, globex: Tenant) -> None:
    session_id = acme.make("/session", name="main", channel="sandbox")["_id"]
    made = make(acme, to=NUMBERS[:2], message={"text": "Hello"})["_id"]
    deliver(acme, made, DeliveryStatus.SENT, DeliveryStatus.SENT)
    acme.make("/sandbox/reply", session_id=session_id, recipient=NUMBERS[0], text="Yes")
    acme.make("/sandbox/reply", session_id=session_id, recipient=NUMBERS[1], text="No")
    with acme.crier.database.writing() as db:
        for table in ("deliveries", "replies"):
            renamed = text(f"UPDATE {table} SET recipient = :who WHERE recipient = :number")  # noqa: S608 - one of two
            db.execute(renamed, {"who": USER_ID, "number": NUMBERS[0]})
    visitor, stranger = ConsoleUser(acme), ConsoleUser(globex)
    found = visitor.get(f"/broadcasts?q=+{USER_ID}+").text
    assert f"/console/deliveries/{made[:12]}" in found
    assert USER_ID in visitor.get(f"/broadcasts/{made}/people?q={USER_ID}").text
    written = visitor.get(f"/replies?q={USER_ID}").text
    assert (">Yes<" in written, ">No<" in written) == (True, False)
    assert "/console/deliveries/" not in stranger.get(f"/broadcasts?q={USER_ID}").text


def test_a_national_number_is_searched_for_as_the_client_means_it(acme: Tenant) -> None:
    session_id = acme.make("/session", name="main", channel="sandbox")["_id"]
    with acme.crier.database.writing() as db:
        clients.mean(db, "Acme", "NG", [])
    made = make(acme, to=NUMBERS[:2], message={"text": "Hello"})["_id"]
    deliver(acme, made, DeliveryStatus.SENT, DeliveryStatus.SENT)
    acme.make("/sandbox/reply", session_id=session_id, recipient=NUMBERS[0], text="Yes")
    visitor = ConsoleUser(acme)
    for written in ("0817 980 3743", "8179803743", NUMBERS[0]):
        assert f"/console/deliveries/{made[:12]}" in visitor.get(f"/broadcasts?q={written}").text
        assert visitor.get(f"/broadcasts/{made}/people?q={written}").text.count("<tr") == 2
        assert ">Yes<" in visitor.get(f"/replies?q={written}").text


def test_all_searches_are_bounded(acme: Tenant) -> None:
    make_session = acme.make("/session", name="main", channel="sandbox")
    made = make(acme, to=NUMBERS, session_id=make_session["_id"])["_id"]
    visitor = ConsoleUser(acme)
    for path in ("/broadcasts", f"/broadcasts/{made}/people", "/replies", "/contacts"):
        page = visitor.get(f"{path}?q={'x' * 10_000}")
        assert page.status_code == 200
        assert f'value="{"x" * 200}"' in page.text
