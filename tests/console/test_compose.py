"""Composing without scripts: recipients as somebody has them in a spreadsheet."""

from __future__ import annotations

import html
import io
import json
import re
from types import SimpleNamespace

import pytest

from service.console import forms
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

pytestmark = on_sqlite
"""The form becomes a request, which is tested on both databases."""

EXCEL = "Prénom;Téléphone\r\nZoé;8031234560\r\nFrançois;8031234561\r\n".encode("cp1252")


def test_a_spreadsheet_that_lost_its_zeros_is_sent_once_its_country_is_chosen(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    visitor = ConsoleUser(acme)
    listed = visitor.post("/lists", file=(io.BytesIO(EXCEL), "parents.csv")).text
    rows = re.search(r'name="list" value="([^"]*)"', listed)
    assert rows
    form = {"audience": "list", "list": html.unescape(rows[1]), "text": "Bonjour {{Prénom}}"}

    refused = visitor.post("/compose", **form)
    assert refused.status_code == 422
    assert "has no known country calling code" in refused.text
    assert visitor.post("/compose", **form, default_region="NG").status_code == 200
    sent = visitor.post("/compose/send", **form, default_region="NG", key="k").location
    [made] = acme.get("/broadcast").json["data"]
    assert sent.endswith(made["_id"])
    assert (made["default_region"], made["countries"]) == ("NG", {"NG": 2})

    again = visitor.get(f"/compose?like={made['_id']}", headers={"Accept-Language": "fr"}).text
    assert '<option value="NG" selected>Nigeria</option>' in again
    assert again.index(">Égypte<") < again.index(">Espagne<")


_ZERO = r'[{"to": "12025550110", "variables": {"name": "\u0000"}}]'


@pytest.mark.parametrize("damaged", ["{", "[" * 100_000, _ZERO, r'["\ud800"]', "7"])
def test_a_hidden_field_that_is_damaged_is_refused(acme: Tenant, damaged: str) -> None:
    acme.make("/session", name="main", channel="sandbox")
    visitor = ConsoleUser(acme)
    message = {"text": "Hi {{name|you}}", "personalise": "yes"}
    assert visitor.post("/compose", audience="list", list=damaged, **message).status_code == 422
    tested = visitor.post("/compose/test", test_number="12025550110", values=damaged, **message)
    assert tested.location.endswith("/console/")
    assert acme.get("/broadcast").json["data"] == []


def test_who_is_not_reached_goes_another_way(acme: Tenant) -> None:
    first = acme.make("/session", name="main", channel="sandbox")["_id"]
    prices = {"currency": "EUR", "countries": {"*": 0.05}}
    then = acme.make("/session", name="by SMS", channel="sandbox", prices=prices)["_id"]
    visitor = ConsoleUser(acme)
    form = {
        "audience": "numbers",
        "to": "12025550110",
        "text": "Hello",
        "session_id": first,
        "fallback.0.session_id": then,
        "fallback.0.minutes": "120",
        "fallback.0.text": "Hello by SMS",
    }
    review = visitor.post("/compose", **form).text
    assert "Who has no receipt after 120 minutes, or is not reached, gets it from by SMS." in review
    assert "It costs at most €0.05." in review
    refused = visitor.post("/compose", **{**form, "fallback.0.session_id": first})
    assert refused.status_code == 422
    assert "each is tried once" in refused.text
    visitor.post("/compose/send", **form, key="k")
    [made] = acme.get("/broadcast").json["data"]
    step = {"session_id": then, "after": "undelivered", "minutes": 120}
    assert made["fallback"] == [{**step, "message": {"text": "Hello by SMS"}}]
    again = visitor.get(f"/compose?like={made['_id']}").text
    assert "Hello by SMS</textarea>" in again
    shown = visitor.get(f"/broadcasts/{made['_id']}").text
    assert "Other ways" in shown
    assert "by SMS" in shown


def test_hours_and_limits_are_set_in_forms_and_shown(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    hours = {
        "window.from": "08:00",
        "window.to": "20:00",
        "window.zone": "recipient",
        "window.days": ["mon", "tue"],
    }
    limits = {"jitter.from": "2", "jitter.to": "9.5", "daily_limit": "1", "limit_group": "all"}
    made = visitor.post("/sessions/new", channel="sandbox", name="main", **limits, **hours)
    assert made.status_code == 303, made.text
    [session] = acme.get("/session").json["data"]
    assert session["window"] == {
        "from": "08:00",
        "to": "20:00",
        "zone": "recipient",
        "days": ["mon", "tue"],
    }
    assert session["jitter"] == {"from": 2, "to": 9.5}
    assert (session["daily_limit"], session["limit_group"]) == (1, "all")
    page = visitor.get(f"/sessions/{session['_id']}").text
    assert "08:00\N{EN DASH}20:00 · Mon, Tue · by the clock of each recipient" in page
    assert "2 to 9.5 seconds between two messages" in page
    form = visitor.get(f"/sessions/{session['_id']}/edit").text
    assert '<input type="checkbox" name="window.days" value="tue" checked>' in form
    assert '<option value="recipient" selected>' in form
    path = f"/sessions/{session['_id']}/edit"
    wrong = visitor.post(path, name="main", **{**hours, "window.to": "08:00"}, **limits)
    assert wrong.status_code == 422
    assert "Must differ from" in wrong.text
    assert visitor.post(path, name="main", **limits).status_code == 303
    assert acme.get("/session").json["data"][0]["window"] is None

    message = {"audience": "numbers", "to": "12025550110, 12025550111", "text": "Hello"}
    review = visitor.post("/compose", **message, **{**hours, "window.days": []})
    assert "08:00\N{EN DASH}20:00 · by the clock of each recipient" in review.text
    assert "spreads it over 2 days" in review.text
    visitor.post("/compose/send", **message, **hours, key="k")
    [broadcast] = acme.get("/broadcast").json["data"]
    assert broadcast["window"] == session["window"]
    again = visitor.get(f"/compose?like={broadcast['_id']}").text
    assert '<input type="time" name="window.from" value="08:00">' in again


def test_what_has_changed_since_its_review_is_shown_again_and_not_sent(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    ada = {"name": "Ada", "phones": ["12025550110"], "fields": {"city": "Lagos"}}
    contact = acme.make("/contact", **ada)["_id"]
    visitor = ConsoleUser(acme)
    form = {
        "audience": "numbers",
        "to": "12025550110, 12025550111",
        "text": "Hello {{city|you}}",
        "personalise": "yes",
        "key": "k",
    }

    def shown(page: str) -> list[str]:
        return re.findall(r'name="shown" value="([^"]*)"', page)

    marks = shown(visitor.post("/compose", **form).text)
    assert [mark.split()[0] for mark in marks] == ["12025550110", "12025550111"]
    acme.put(f"/contact/{contact}", json={"fields": {"city": "Paris"}})
    refused = visitor.post("/compose/send", **form, shown=marks)
    assert refused.status_code == 409
    assert "has changed since you reviewed it. Nothing was sent." in refused.text
    assert "Hello Paris" in refused.text
    assert acme.get("/broadcast").json["data"] == []
    again = shown(refused.text)
    assert (again[0] == marks[0], again[1] == marks[1]) == (False, True)
    # Who is not to get it any more is no reason to look again.
    again.append("12025550112 0")
    sent = visitor.post("/compose/send", **form, shown=again)
    [made] = acme.get("/broadcast").json["data"]
    assert sent.location.endswith(made["_id"])
    # The same form sent twice makes one, whatever has changed since.
    acme.put(f"/contact/{contact}", json={"fields": {"city": "Rome"}})
    assert visitor.post("/compose/send", **form, shown=again).location == sent.location


def test_a_list_that_a_form_carries_is_parsed_once(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    visitor = ConsoleUser(acme)
    parsed: list[str] = []

    def note(text: str) -> object:
        parsed.append(text)
        return json.loads(text)

    rows = '[{"to": "12", "variables": {"name": "Ada"}}]'
    monkeypatch.setattr(forms, "json", SimpleNamespace(loads=note))
    refused = visitor.post("/compose", audience="list", list=rows, text="Hi {{name}}")
    assert refused.status_code == 422
    assert f'name="list" value="{html.escape(rows).replace("&quot;", "&#34;")}"' in refused.text
    assert parsed == [rows]
