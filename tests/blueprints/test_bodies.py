"""What is read as a body, and what is refused with the place where it goes wrong."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.blueprints import bodies
from service.errors import UnreadableBodyError
from tests.conftest import Tenant


@pytest.mark.parametrize("raw", [b"", b" \n", b"{}", b"\xef\xbb\xbf{}"])
def test_nothing_is_an_empty_object(raw: bytes) -> None:
    assert bodies.parse(raw) == {}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{\n"a": 1,,}', "line 2, column 8"),
        (b'{"a": "unfinished', "line 1, column 7"),
        (b"[]", "has to be an object"),
        (b'"text"', "has to be an object"),
        (b'{"a": 1, "a": 2}', "names 'a' twice"),
        (b'{"a": [{"b": 1, "b": 1}]}', "names 'b' twice"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number of JSON"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": %s}' % (b"9" * 5000), "too many digits"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        ('{"a": "ä"}'.encode("utf-16"), "byte 1 is not UTF-8"),
        (rb'{"a": "\u0000"}', r"the character \u0000"),
        (rb'{"a\u0000": 1}', r"the character \u0000"),
        (rb'{"a": [["\ud800"]]}', "half of a surrogate pair"),
        (b'{"a": %s1%s}' % (b"[" * 5000, b"]" * 5000), "nested too deeply"),
        (b'{"a": [%s]}' % b",".join([b"[]"] * 30_000), "too many lists and objects"),
        (b'{"a": "\n"}', "line 1, column 8"),
    ],
)
def test_the_reason_says_what_is_wrong_and_where(raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableBodyError) as refusal:
        bodies.parse(raw)
    assert reason in refusal.value.message


def test_whole_surrogate_pairs_are_characters() -> None:
    assert bodies.parse(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(raw: bytes) -> None:
    with suppress(UnreadableBodyError):
        assert isinstance(bodies.parse(raw), dict)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # What cannot be stored is tested above.
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0")), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0")), values))
def test_what_is_json_is_read_as_json(document: dict[str, object]) -> None:
    assert bodies.parse(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=utf-8", ""],
)
def test_json_may_claim_to_be_what_curl_says_it_is(acme: Tenant, content_type: str) -> None:
    body = '{"name": "Ada", "phones": ["2348179803743"]}'
    answer = acme.post("/contact", data=body, content_type=content_type)
    assert answer.status_code == 201


@pytest.mark.parametrize("content_type", ["application/xml", "multipart/form-data; boundary=x"])
def test_other_content_types_are_refused(acme: Tenant, content_type: str) -> None:
    answer = acme.post("/contact", data='{"name": "Ada"}', content_type=content_type)
    assert answer.status_code == 415
    assert answer.json["status"] is False  # type: ignore[index]


def test_a_broken_body_is_answered_in_the_envelope(acme: Tenant) -> None:
    answer = acme.post("/contact", data='{"name": ')
    assert answer.status_code == 400
    assert answer.json == {
        "status": False,
        "message": answer.json["message"],  # type: ignore[index]
        "data": None,
        "errors": {"body": [answer.json["message"]]},  # type: ignore[index]
    }


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_bodies_of_reads_and_deletes_may_have_nothing_unknown(acme: Tenant, method: str) -> None:
    made = acme.make("/contact", name="Ada", phones=["2348179803743"])
    path = f"/contact/{made['_id']}"
    assert acme.ask(method, path, json={"session": ""}).status_code == 422
    assert acme.ask(method, path, data="{").status_code == 400
    assert acme.ask(method, path, json={"session_id": "", "access_token": None}).status_code == 200


def test_an_object_of_thousands_of_members_is_refused_at_once() -> None:
    names = ",".join(f'"{number}": 0' for number in range(100_000))
    with pytest.raises(UnreadableBodyError, match="more than 1000 members"):
        bodies.parse(f'{{{names}, "0": 1}}'.encode())


def test_only_to_may_be_a_list_without_end() -> None:
    million = json.dumps(["x"] * 1_000_000)
    assert len(bodies.parse(f'{{"to": {million}}}'.encode())["to"]) == 1_000_000
    with pytest.raises(UnreadableBodyError, match="more than 100000 entries"):
        bodies.parse(f'{{"emails": {million}}}'.encode())


def test_what_is_nested_deeper_than_any_message_is_refused() -> None:
    with pytest.raises(UnreadableBodyError, match="nested too deeply"):
        bodies.parse(f'{{"message": {"[" * 100}{"]" * 100}}}'.encode())


@pytest.mark.parametrize("query", ["page=1&page=2", "page_size=5&page_size=5", "sort=&sort=x"])
def test_a_parameter_that_is_said_twice_is_refused(acme: Tenant, query: str) -> None:
    answer = acme.get(f"/broadcast?{query}")
    assert answer.status_code == 422
    name = query.partition("=")[0]
    assert answer.json["errors"] == {name: ["Given more than once: give it once."]}  # type: ignore[index]
