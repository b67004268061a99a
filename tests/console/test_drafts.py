"""The message as its first recipient would read it, while it is still being written."""

from __future__ import annotations

import html
import io
import json
import re
from typing import Any

import pytest

from service.models import DeliveryStatus
from tests.blueprints.test_broadcasts import deliver, make
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

pytestmark = on_sqlite

ADA, BEN = "12025550110", "12025550111"
SHEET = b"Name,Phone,City\nAda <b>,+1 202 555 0110,\nBen,+1 202 555 0111,Lagos\n"
TEXT = "Hi {{Name}} of {{City|town}}"


@pytest.fixture
def visitor(acme: Tenant) -> ConsoleUser:
    acme.make("/session", name="main", channel="sandbox")
    return ConsoleUser(acme)


def draft(visitor: ConsoleUser, text: str = TEXT, **form: Any) -> str:
    answer = visitor.post("/compose/draft", **{"text": text, "personalise": "yes", **form})
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", answer.text)


def first_of(listed: str) -> str:
    found = re.search(r"data-first>(.*?)</p>", listed)
    assert found
    return html.unescape(found[1])


def test_a_spreadsheet_gives_the_values_of_its_first_row(visitor: ConsoleUser) -> None:
    listed = visitor.post("/lists", file=(io.BytesIO(SHEET), "people.csv")).text
    first = first_of(listed)
    assert json.loads(first)["variables"]["Name"] == "Ada <b>"
    # Recipients with values have placeholders replaced, whether that is asked for or not.
    for asked in ("yes", ""):
        shown = draft(visitor, audience="list", first=first, personalise=asked)
        assert "Hi Ada &lt;b&gt; of town</div>" in shown
        assert "As the first recipient gets it, +1 202 555 0110." in shown
    missing = draft(visitor, "{{Name}} from {{Town}}", audience="list", first=first)
    assert "from <mark>{{Town}}</mark>" in missing
    assert "The first recipient, +1 202 555 0110, has no value for: Town." in missing


def test_a_number_a_group_and_an_earlier_broadcast_give_the_values_of_a_contact(
    acme: Tenant, visitor: ConsoleUser
) -> None:
    of_contact = {"name": "Cleo", "phones": [ADA], "fields": {"Name": "Ada", "City": "Lagos"}}
    contact = acme.make("/contact", **of_contact)
    group = acme.make("/group", name="friends", contacts=[contact["_id"]])["_id"]
    to = [{"to": BEN, "variables": {"Name": "Ben"}}, ADA]
    earlier = make(acme, to=to, message={"text": "Hi {{Name|you}}"})["_id"]
    deliver(acme, earlier, DeliveryStatus.SENT, DeliveryStatus.FAILED)
    for form in (
        {"audience": "numbers", "to": "+1 202 555 0110"},
        {"audience": "numbers", "to": "(202) 555-0110", "default_region": "US"},
        {"audience": "groups", "group": group},
        {"audience": "broadcast", "broadcast": earlier, "statuses": "failed"},
    ):
        assert "Hi Ada of Lagos</div>" in draft(visitor, **form), form
    assert "Hi Ben of town" in draft(visitor, audience="broadcast", broadcast=earlier)
    assert "{{Name}} of {{City|town}}" in draft(
        visitor, audience="groups", group=group, personalise=""
    )


def test_what_cannot_be_filled_is_told(visitor: ConsoleUser) -> None:
    assert "once you have chosen recipients" in draft(visitor, audience="numbers")
    assert "has no value for: Name." in draft(visitor, audience="numbers", to=ADA)
    assert "which is no placeholder" in draft(visitor, "Hi {{", audience="numbers", to=ADA)
    as_written = draft(visitor, audience="numbers", to=ADA, personalise="")
    assert "placeholders are not replaced" in as_written
    for odd in ({"to": "12"}, {"to": ADA, "default_region": "??"}, {"audience": "list"}):
        assert "{{Name}}" in draft(visitor, **{"audience": "numbers", **odd})
    damaged = visitor.post("/compose/draft", audience="list", first="{")
    assert damaged.status_code == 303


def test_another_clients_groups_and_broadcasts_give_no_values(
    acme: Tenant, globex: Tenant, visitor: ConsoleUser
) -> None:
    contact = acme.make("/contact", name="Ada", phones=[ADA], fields={"Name": "Secret"})
    group = acme.make("/group", name="friends", contacts=[contact["_id"]])["_id"]
    earlier = make(acme, to=[{"to": BEN, "variables": {"Name": "Secret"}}], message={"text": "Hi"})
    deliver(acme, earlier["_id"], DeliveryStatus.SENT)
    assert "Secret" in draft(visitor, audience="groups", group=group)
    stranger = ConsoleUser(globex)
    for form in (
        {"audience": "numbers", "to": ADA},
        {"audience": "groups", "group": group},
        {"audience": "broadcast", "broadcast": earlier["_id"]},
    ):
        assert "Secret" not in draft(stranger, **form)


def test_a_form_that_comes_back_still_shows_its_spreadsheet(visitor: ConsoleUser) -> None:
    listed = visitor.post("/lists", file=(io.BytesIO(SHEET), "people.csv")).text
    rows = re.search(r'name="list" value="([^"]*)"', listed)
    assert rows
    form = {"audience": "list", "text": TEXT}
    again = visitor.post("/compose/edit", **form, list=html.unescape(rows[1])).text
    assert rows[0] in again
    assert first_of(again) == first_of(listed)
    assert "<li>City</li>" in again
    for damaged in ("{", "7", '[{"to": 1}]', "[" * 100_000):
        assert "data-first" not in visitor.post("/compose/edit", **form, list=damaged).text
