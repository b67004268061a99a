"""Long answers: few at a time, and fewer of one client."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from service.core import contacts
from tests.conftest import Answer, Tenant, on_sqlite
from tests.console.visiting import ConsoleUser


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tenant, str]]:
    """Return requests that begin while another page is read, the last one first."""
    waiting: list[tuple[Tenant, str]] = []
    answers: list[Answer] = []
    page = contacts.page

    def read(*values: Any) -> Any:
        if waiting:
            tenant, path = waiting.pop()
            answers.append(tenant.get(path))
        return page(*values)

    monkeypatch.setattr(contacts, "page", read)
    monkeypatch.setattr(contacts, "answers", answers, raising=False)
    return waiting


def statuses(tenant: Tenant, path: str) -> list[int]:
    """Ask for a page, and return the statuses of all, the first to be answered first."""
    answers: list[Answer] = vars(contacts)["answers"]
    answers.clear()
    last = tenant.get(path).status_code
    return [*(each.status_code for each in answers), last]


LONG, SHORT = "/contact?page_size=101", "/contact?page_size=100"


@on_sqlite
def test_a_third_long_page_at_a_time_is_refused_and_a_short_one_is_not(
    acme: Tenant, asking: list[tuple[Tenant, str]]
) -> None:
    asking += [(acme, "/group?page_size=1000"), (acme, LONG)]
    assert statuses(acme, LONG) == [429, 200, 200]
    asking += [(acme, SHORT), (acme, SHORT), (acme, LONG)]
    assert statuses(acme, LONG) == [200, 200, 200, 200]
    asking += [(acme, "/contact/export?format=csv"), (acme, LONG)]
    assert statuses(acme, LONG) == [429, 200, 200]


@on_sqlite
def test_a_refusal_says_when_and_gives_its_place_to_nobody(
    acme: Tenant, asking: list[tuple[Tenant, str]]
) -> None:
    asking += [(acme, LONG), (acme, LONG)]
    statuses(acme, LONG)
    [refused, *_] = vars(contacts)["answers"]
    assert refused.headers["Retry-After"] == "1"
    assert "long answers" in refused.json["message"]
    for _ in range(5):
        assert acme.get("/contact?page_size=1000&page=9").status_code == 422
        assert acme.get(LONG).status_code == 200


@on_sqlite
def test_another_client_finds_a_place(
    acme: Tenant, globex: Tenant, asking: list[tuple[Tenant, str]]
) -> None:
    asking += [(globex, LONG), (acme, LONG)]
    assert statuses(acme, LONG) == [200, 200, 200]


@on_sqlite
@pytest.mark.parametrize(
    "path",
    [
        "/contact/export?format=csv",
        "/opt-out/export",
        "/broadcast/{}/delivery.csv",
        "/console/contacts/export.xlsx",
        "/console/broadcasts/{}/recipients.xlsx",
    ],
)
def test_an_export_keeps_its_place_until_it_is_sent(acme: Tenant, path: str) -> None:
    acme.make("/session", name="main", channel="sandbox")
    order = {"send_type": "individual", "to": "2348179803743", "message": {"text": "Hello"}}
    path = path.format(acme.make("/broadcast", **order)["_id"])
    visitor = ConsoleUser(acme)
    asked = visitor.http.get if path.startswith("/console") else partial(acme.ask_unread, "GET")
    opened = [asked(path) for _ in range(2)]
    assert [answer.status_code for answer in opened] == [200, 200]
    assert acme.get(LONG).status_code == 429
    refused = asked(path)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    for answer in (*opened, refused):
        answer.close()
    assert acme.get(LONG).status_code == 200
