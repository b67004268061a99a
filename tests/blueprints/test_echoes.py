"""The document that comes twice, in the body and in the query string, as axios writes it."""

from __future__ import annotations

from typing import Any

import pytest

from service.blueprints import echoes, forms
from tests.blueprints.test_session_tokens import TEXT, own
from tests.conftest import Tenant

NOBODY = {"Authorization": ""}
BODY: dict[str, Any] = {
    "to": "2348179803743",
    "message": {"text": "a & b", "attachments": ["x", None, "y"], "location": {}},
    "is_default": False,
    "rate": 1.5,
    "count": 3,
    "list": [{"a": 1}, {"a": 2}],
    "nothing": None,
}


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("to", "2348179803743")],
        [("message[text]", "a & b"), ("is_default", "false")],
        [("message[attachments][]", "x"), ("message[attachments][]", "y")],
        [("message[attachments][0]", "x"), ("message[attachments][2]", "y")],
        [("list[0][a]", "1"), ("list[1][a]", "2")],
        [("rate", "1.5"), ("count", "3"), ("nothing", "")],
        [("count", "3.0")],
    ],
)
def test_what_says_the_same_is_a_repetition(pairs: list[tuple[str, str]]) -> None:
    said = forms.nest(pairs)
    assert all(echoes.repeats(said[name], BODY.get(name, ...)) for name in said)


@pytest.mark.parametrize(
    "pairs",
    [
        [("to", "2348179803744")],
        [("to[]", "2348179803743")],
        [("message", "a & b")],
        [("message[text]", "a")],
        [("message[template]", "a")],
        [("message[attachments][]", "x")],
        [("message[attachments][]", "y"), ("message[attachments][]", "x")],
        [("list[0][a]", "2"), ("list[1][a]", "1")],
        [("is_default", "true")],
        [("is_default", "")],
        [("rate", "1.6")],
        [("count", "three")],
        [("nothing", "null")],
        [("elsewhere", "1")],
    ],
)
def test_what_says_something_else_is_none(pairs: list[tuple[str, str]]) -> None:
    said = forms.nest(pairs)
    assert not any(echoes.repeats(said[name], BODY.get(name, ...)) for name in said)


def test_a_query_that_repeats_the_body_is_no_error_and_one_that_contradicts_it_is(
    acme: Tenant,
) -> None:
    own(acme)
    query = {"send_type": "individual", "to": "2348179803743", "message[text]": "Hello"}
    assert acme.post("/broadcast", json=TEXT, query_string=query).status_code == 201
    for changed, field in (
        ({"to": "447911123456"}, "to"),
        ({"message[text]": "Goodbye"}, "message"),
        ({"send_at": "2030-01-01T00:00:00Z"}, "send_at"),
    ):
        answer = acme.post("/broadcast", json=TEXT, query_string=query | changed)
        assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
    assert len(acme.get("/broadcast").json["data"]) == 1


def test_a_list_takes_its_page_from_the_query_though_the_body_repeats_it(acme: Tenant) -> None:
    for number in range(3):
        acme.make("/contact", name=f"Ada {number}", phones=["2348179803743"])
    both = {"page": 2, "page_size": 2}
    answer = acme.get("/contact", json=both, query_string=both)
    assert [each["name"] for each in answer.json["data"]] == ["Ada 2"]
    contradicted = acme.get("/contact", json={"page": 1}, query_string=both)
    assert (contradicted.status_code, list(contradicted.json["errors"])) == (422, ["page"])
    assert acme.get("/contact", json=both).status_code == 422


def test_the_document_in_the_query_alone_works_for_reads_and_deletes(acme: Tenant) -> None:
    token = own(acme)
    made = acme.post("/broadcast", json=token._asdict() | TEXT).json["data"]
    for method, path in (
        ("GET", "/broadcast"),
        ("GET", f"/broadcast/{made['_id']}"),
        ("DELETE", f"/broadcast/{made['_id']}"),
    ):
        answer = acme.ask(method, path, query_string=token._asdict(), headers=NOBODY)
        assert answer.status_code == 200, answer.text


def test_no_token_of_a_query_reaches_a_link_or_the_log(
    acme: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    token = own(acme)
    for number in range(3):
        acme.post("/broadcast", json=token._asdict() | {**TEXT, "to": f"23481798037{40 + number}"})
    query = {**token._asdict(), "page_size": "1"}
    with caplog.at_level("DEBUG"):
        answer = acme.get("/broadcast", json=token._asdict(), query_string=query)
    assert answer.headers["Link"]
    assert "crier_session_" not in f"{answer.headers}{answer.text}{caplog.text}"
