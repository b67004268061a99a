"""What is read as a body, and what is refused with the place where it goes wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.app import Application
from service.blueprints import bodies
from service.errors import UnreadableBodyError
from tests.conftest import Tenant, on_sqlite


@pytest.mark.parametrize("raw", [b"", b" \n", b"{}", b"\xef\xbb\xbf{}"])
def test_nothing_is_an_empty_object(raw: bytes) -> None:
    assert bodies.parse(raw) == {}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{\n"a": 1,,}', "line 2, column 8"),
        (b'{"a": "unfinished', "line 1, column 7"),
        (b"[]", "must be an object"),
        (b'"text"', "must be an object"),
        (b'{"a": 1, "a": 2}', "the member 'a' twice"),
        (b'{"a": [{"b": 1, "b": 1}]}', "the member 'b' twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": %s}' % (b"9" * 5000), "too many digits"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        ('{"a": "ä"}'.encode("utf-16")[:-1], "byte 21 is not UTF-16: send the body as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "it is a file (image/png). Upload it with POST /attachment"),
        (b'{"a": 1,}', "or there is a comma too many, at line 1, column 9"),
        (rb'{"a": "\u0000"}', r"the character \u0000"),
        (rb'{"a\u0000": 1}', r"the character \u0000"),
        (rb'{"a": [["\ud800"]]}', "half of a surrogate pair"),
        (b'{"a": %s1%s}' % (b"[" * 5000, b"]" * 5000), "nested too deeply"),
        (b'{"a": [%s]}' % b",".join([b"[]"] * 30_000), "too many lists and objects"),
        (
            b'{"a": "\n"}',
            r"a line break or another control character: write it as \n, at line",
        ),
        (rb'{"a": "\q"}', "a backslash starts no valid escape"),
        (rb'{"a": "\u12"}', "needs four hexadecimal digits"),
        (b'{"a": 1 "b": 2}', "a comma or a bracket is missing, at line 1, column 9"),
        (b'{"a" 1}', "a colon is missing"),
        (b"{a: 1}", "a name in double quotes is missing"),
        (b"{'a': 1}", "a name in double quotes is missing"),
        (b'{"a": tru}', "a value is missing, or a string has no double quotes"),
        (b"{} x", "there is more text after the end of the object"),
        (b'{"a": "x', "a string has no end, at line 1, column 7"),
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


ADA = '{"name": "Ada", "phones": ["12025550112"]}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_json_is_read_in_each_encoding_that_it_ever_had(encoding: str) -> None:
    assert bodies.parse('{"name": "Zoë 😀"}'.encode(encoding)) == {"name": "Zoë 😀"}


@on_sqlite
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "application/vnd.api+json",
        "application/octet-stream",
        "application/xml",
        "multipart/form-data; boundary=x",
        "text/json",
        "text/plain; charset=utf-8",
        "",
    ],
)
def test_json_is_taken_under_any_content_type(acme: Tenant, content_type: str) -> None:
    answer = acme.post("/contact", data=ADA, content_type=content_type)
    assert answer.status_code == 201


@on_sqlite
@pytest.mark.parametrize("coded", [quote(ADA), quote_plus(ADA), quote_plus(ADA) + "="])
def test_json_that_was_encoded_like_a_form_is_taken(acme: Tenant, coded: str) -> None:
    answer = acme.post("/contact", data=coded, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 201


@on_sqlite
def test_what_is_neither_json_nor_a_form_is_refused_by_its_content_type(acme: Tenant) -> None:
    answer = acme.post("/contact", data="<a/>", content_type="application/xml")
    assert answer.status_code == 415
    assert answer.json["message"] == ("Send JSON or a form. application/xml is not supported.")


@on_sqlite
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda raw: zlib.compress(raw, wbits=-15)),
        ("identity", bytes),
        ("UTF-8", bytes),
    ],
)
def test_a_packed_body_is_unpacked(
    acme: Tenant, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {"Content-Encoding": encoding, "Authorization": f"Bearer {acme.token}"}
    assert acme.post("/contact", data=pack(ADA.encode()), headers=headers).status_code == 201


@on_sqlite
def test_a_token_is_found_in_a_packed_body_and_in_one_of_utf_16(acme: Tenant) -> None:
    text = ADA.replace("{", f'{{"access_token": "{acme.token}", ')
    for raw in (gzip.compress(text.encode()), text.encode("utf-16")):
        assert acme.post("/contact", data=raw, headers={"Authorization": ""}).status_code == 201


@on_sqlite
def test_the_limit_holds_for_what_comes_out_of_a_packed_body(
    make_app: Callable[..., Application],
) -> None:
    tenant = Tenant(make_app(max_body_bytes=100_000), "Acme")
    bomb = gzip.compress(b'{"name": "' + b"x" * 10_000_000)
    answer = tenant.post("/contact", data=bomb)
    assert answer.status_code == 413
    assert answer.json["message"] == ("The decompressed body is larger than 100000 bytes.")


@on_sqlite
@pytest.mark.parametrize(
    ("encoding", "raw", "status", "message"),
    [
        ("br", b"x", 415, "Unsupported Content-Encoding br: use gzip, deflate or none."),
        ("gzip", b"{}", 400, "The body is not valid gzip, or it is cut off"),
        ("deflate", b"{}", 400, "The body is not valid deflate, or it is cut off"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-4], 400, "or it is cut off"),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"x", 400, "The body is not valid"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused_in_words(
    acme: Tenant, encoding: str, raw: bytes, status: int, message: str
) -> None:
    headers = {"Content-Encoding": encoding, "Authorization": f"Bearer {acme.token}"}
    answer = acme.post("/contact", data=raw, headers=headers)
    assert answer.status_code == status
    assert message in answer.json["message"]


@on_sqlite
def test_a_slash_at_the_end_of_an_address_changes_nothing(acme: Tenant) -> None:
    made = acme.make("/contact/", name="Ada", phones=["12025550112"])
    assert acme.get(f"/contact/{made['_id']}/").json["data"] == made
    assert acme.get("/broadcast/?page=1").status_code == 200
    assert acme.get("/healthz/").status_code == 200


@on_sqlite
def test_a_broken_body_is_answered_in_the_envelope(acme: Tenant) -> None:
    answer = acme.post("/contact", data='{"name": ')
    assert answer.status_code == 400
    assert answer.json == {
        "status": False,
        "message": answer.json["message"],
        "data": None,
        "errors": {"body": [answer.json["message"]]},
    }


@on_sqlite
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


def test_recipients_may_be_a_hundred_thousand_objects_and_other_lists_may_not() -> None:
    many = json.dumps([{"to": "1", "variables": {"name": "Ada"}}] * 100_000)
    assert len(bodies.parse(f'{{"to": {many}}}'.encode())["to"]) == 100_000
    with pytest.raises(UnreadableBodyError, match="too many lists and objects"):
        bodies.parse(f'{{"to": [{", ".join(["[[], []]"] * 10_000)}]}}'.encode())


def test_what_is_nested_deeper_than_any_message_is_refused() -> None:
    with pytest.raises(UnreadableBodyError, match="nested too deeply"):
        bodies.parse(f'{{"message": {"[" * 100}{"]" * 100}}}'.encode())


@on_sqlite
@pytest.mark.parametrize("query", ["page=1&page=2", "page_size=5&page_size=5", "sort=&sort=x"])
def test_a_parameter_that_is_said_twice_is_refused(acme: Tenant, query: str) -> None:
    answer = acme.get(f"/broadcast?{query}")
    assert answer.status_code == 422
    name = query.partition("=")[0]
    assert list(answer.json["errors"]) == [name]
    [reason] = answer.json["errors"][name]
    assert reason.startswith("Sent more than once. Send it once.")
