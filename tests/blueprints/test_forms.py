"""Documents that come as forms, in brackets, from programs that know no JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.blueprints import forms
from service.errors import InvalidError
from tests.conftest import Tenant, on_sqlite

GUIDE = {
    "send_type": "individual",
    "to": "12025550110,12025550111",
    "message[text]": "Hello",
    "message[location][name]": "",
    "message[location][lat]": "6.556452",
    "message[location][lng]": "3.277448",
    "message[contactId]": "",
}
READ = {
    "send_type": "individual",
    "to": "12025550110,12025550111",
    "message": {
        "text": "Hello",
        "location": {"name": "", "lat": "6.556452", "lng": "3.277448"},
        "contactId": "",
    },
}


@pytest.mark.parametrize(
    ("pairs", "document"),
    [
        ([], {}),
        ([("a", "1"), ("b", "")], {"a": "1", "b": ""}),
        ([("m[t]", "x"), ("m[l][lat]", "1")], {"m": {"t": "x", "l": {"lat": "1"}}}),
        ([("to[]", "a"), ("to[]", "b")], {"to": ["a", "b"]}),
        ([("to[1]", "b"), ("to[0]", "a"), ("to[10]", "c")], {"to": ["a", "b", "c"]}),
        ([("m[files][]", "a"), ("m[t]", "x")], {"m": {"t": "x", "files": ["a"]}}),
        (
            [("c[0][type]", "body"), ("c[0][p][0][text]", "x"), ("c[1][type]", "header")],
            {"c": [{"type": "body", "p": [{"text": "x"}]}, {"type": "header"}]},
        ),
        ([("c[][n]", "1"), ("c[][n]", "2")], {"c": [{"n": "1"}, {"n": "2"}]}),
        (
            [("a", "1"), ("m[f]", "x"), ("a", "2"), ("a", "3")],
            {"a": ["1", "2", "3"], "m": {"f": "x"}},
        ),
        ([("a[b", "1"), ("a]", "2"), ("", "3")], {"a[b": "1", "a]": "2", "": "3"}),
        ([("[a]", "1"), ("a[b]c", "2")], {"[a]": "1", "a[b]c": "2"}),
    ],
)
def test_brackets_are_objects_and_lists(
    pairs: list[tuple[str, str]], document: dict[str, Any]
) -> None:
    assert forms.nest(pairs) == document


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "1"), ("a[b]", "2")],
        [("a[]", "1"), ("a[]", "2"), ("a", "3"), ("a", "4")],
        [("a[b]", "1"), ("a", "2")],
        [("a[]", "1"), ("a[0]", "2")],
        [("a[]", "1"), ("a", "2")],
    ],
)
def test_what_is_said_twice_is_refused_with_what_to_do(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidError) as refusal:
        forms.nest(pairs)
    [[reason]] = refusal.value.errors.values()
    assert reason.startswith("Sent more than once. Send it once. Write a list as `a")


def test_a_name_of_a_thousand_levels_is_refused() -> None:
    with pytest.raises(InvalidError, match="not valid"):
        forms.nest([("a" + "[b]" * 1_000, "x")])


names = st.sampled_from(["text", "a b", "é", "x.y", "=&", "-1"])
texts = st.text(max_size=5)


@given(
    st.dictionaries(
        names,
        st.recursive(
            texts,
            lambda inner: (
                st.lists(inner, min_size=1, max_size=3)
                | st.dictionaries(names, inner, min_size=1, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=3,
    )
)
def test_what_is_written_in_brackets_is_read_again(document: dict[str, Any]) -> None:
    assert forms.nest(written(document)) == document


def written(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Write a document as PHP's `http_build_query` does."""
    if isinstance(value, str):
        return [(name, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [
        pair
        for key, inner in items
        for pair in written(inner, f"{name}[{key}]" if name else str(key))
    ]


@on_sqlite
@pytest.mark.parametrize("content_type", [forms.URLENCODED, forms.MULTIPART])
def test_a_form_is_the_same_document_as_json(acme: Tenant, content_type: str) -> None:
    acme.make("/session", name="main", channel="sandbox")
    answer = acme.post("/broadcast", data=GUIDE, content_type=content_type)
    assert answer.status_code == 201, answer.text
    made = answer.json["data"]
    assert {name: made[name] for name in READ} == READ


@on_sqlite
def test_a_list_in_a_form_is_a_list_of_recipients(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    to = [f"120255502{number:02}" for number in range(100)]
    body = urlencode({"send_type": "individual", "to[]": to, "message[text]": "Hi"}, doseq=True)
    answer = acme.post("/broadcast", data=body, content_type=forms.URLENCODED)
    assert answer.json["data"]["to"] == to


@on_sqlite
@pytest.mark.parametrize(
    ("body", "phones"),
    [
        ("phones=12025550112", ["12025550112"]),
        ("phones=12025550112&phones=12025550113", ["12025550112", "12025550113"]),
        ("phones[0]=12025550112&phones[2]=12025550113", ["12025550112", "12025550113"]),
        ("phones=&number=12025550112", ["12025550112"]),
    ],
)
def test_a_list_in_a_form_needs_no_brackets(acme: Tenant, body: str, phones: list[str]) -> None:
    answer = acme.post("/contact", data=f"name=Ada&{body}", content_type=forms.URLENCODED)
    assert answer.json["data"]["phones"] == phones, answer.text


@on_sqlite
@pytest.mark.parametrize("content_type", [forms.URLENCODED, forms.MULTIPART])
def test_an_object_in_a_field_of_a_form_may_be_json(acme: Tenant, content_type: str) -> None:
    acme.make("/session", name="main", channel="sandbox")
    fields = {"send_type": "individual", "to": "12025550110"}
    for message, status in (('{"text": "Hello"}', 201), ('{"text": "Hello}', 400), ("Hello", 422)):
        form = fields | {"message": message}
        answer = acme.post("/broadcast", data=form, content_type=content_type)
        assert answer.status_code == status, answer.text
    [made] = acme.get("/broadcast").json["data"]
    assert made["message"] == {"text": "Hello"}


@on_sqlite
def test_what_a_form_means_is_kept_and_not_its_texts(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    template = (
        "message[template][name]=a&message[template][language]=en&message[template][tidy]=off"
    )
    body = f"send_type=individual&to=12025550110&to=12025550111&{template}&message[text]=Hi"
    answer = acme.post("/broadcast", data=body, content_type=forms.URLENCODED)
    made = answer.json["data"]
    assert made["to"] == ["12025550110", "12025550111"]
    assert made["message"]["template"]["tidy"] is False


@on_sqlite
def test_booleans_and_numbers_of_a_form_are_read_as_what_they_mean(acme: Tenant) -> None:
    acme.make("/session", name="first", channel="sandbox")
    for number, (said, meant) in enumerate((("true", True), ("0", False), ("On", True))):
        body = f"name=s{number}&channel=sandbox&rate=20&max_attempts=3&default={said}"
        answer = acme.post("/session", data=body, content_type=forms.URLENCODED)
        made = answer.json["data"]
        assert (made["rate"], made["max_attempts"], made["default"]) == (20.0, 3, meant)
    wrong = "name=x&channel=sandbox&default=maybe"
    answer = acme.post("/session", data=wrong, content_type=forms.URLENCODED)
    assert answer.json["errors"] == {"default": ["Must be true or false."]}


@on_sqlite
@pytest.mark.parametrize("content_type", [forms.URLENCODED, forms.MULTIPART])
def test_a_token_may_stand_in_a_form(acme: Tenant, content_type: str) -> None:
    fields = {"name": "Ada", "phones[]": "12025550112", "access_token": acme.token}
    for token, status in ((acme.token, 201), ("crier_wrong", 401)):
        answer = acme.post(
            "/contact",
            data=fields | {"access_token": token},
            content_type=content_type,
            headers={"Authorization": ""},
        )
        assert answer.status_code == status


@on_sqlite
@pytest.mark.parametrize(
    ("body", "content_type", "status", "errors"),
    [
        ("text=%FF", forms.URLENCODED, 400, "body"),
        (b"text=\xff", forms.URLENCODED, 400, "body"),
        ("name=a&name=b", forms.URLENCODED, 422, "name"),
        ("name=%00&phones[]=12025550112", forms.URLENCODED, 400, "body"),
        ("hello", forms.URLENCODED, 422, "hello"),
        ("--x\r\nbroken", f"{forms.MULTIPART}; boundary=x", 400, "body"),
        ("--x--", forms.MULTIPART, 400, "body"),
    ],
)
def test_a_form_that_is_wrong_is_refused_with_the_place(
    acme: Tenant, body: str | bytes, content_type: str, status: int, errors: str
) -> None:
    answer = acme.post("/contact", data=body, content_type=content_type)
    assert answer.status_code == status, answer.text
    assert errors in answer.json["errors"]


@on_sqlite
def test_a_file_in_a_form_is_sent_where_files_are_stored(acme: Tenant) -> None:
    part = 'Content-Disposition: form-data; name="photo"; filename="a.png"'
    body = f"--x\r\n{part}\r\n\r\nPNG\r\n--x--\r\n"
    answer = acme.post("/contact", data=body, content_type=f"{forms.MULTIPART}; boundary=x")
    assert answer.status_code == 422
    [reason] = answer.json["errors"]["photo"]
    assert reason.startswith("Files are not accepted here. Upload an attachment with POST /att")


@on_sqlite
def test_a_form_of_more_parts_than_any_document_has_is_refused(acme: Tenant) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="to[]"\r\n\r\n1\r\n'
    answer = acme.post(
        "/contact", data=part * 1_100 + "--x--", content_type=f"{forms.MULTIPART}; boundary=x"
    )
    assert answer.status_code == 413
