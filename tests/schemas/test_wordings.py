"""What is wrong with a field is said by what it should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import fields

from service.schemas import base, broadcasts, contacts, groups, pages, sessions, wordings
from service.schemas.base import StrictSchema

SCHEMAS = [
    found
    for module in (base, broadcasts, contacts, groups, pages, sessions)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, StrictSchema)
]
NO_SUCH_PART = (
    "Unknown field. This request takes text, attachments, file, location, contactId, template,"
    " category."
)


def sentences(field: fields.Field[Any]) -> Iterator[str]:
    """Yield what a field can say of a value."""
    yield from (said for said in field.error_messages.values() if isinstance(said, str))
    for check in field.validators:
        yield from (said for said in vars(check).values() if isinstance(said, str))
    if isinstance(field, fields.List):
        yield from sentences(field.inner)


@pytest.mark.parametrize("schema", sorted(set(SCHEMAS), key=str))
def test_no_field_says_only_what_a_value_is_not(schema: type[StrictSchema]) -> None:
    said = {text for field in schema().load_fields.values() for text in sentences(field)}
    said |= set(schema().error_messages.values())
    assert not [text for text in said if text.startswith(("Not a valid", "Invalid"))]
    assert "Unknown field." not in said
    assert not [text for text in said if wordings.ours(text) != text]


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ({"send_at": "tomorrow"}, {"send_at": [wordings.A_MOMENT]}),
        ({"send_at": "2026-11-24T10:00:00"}, {"send_at": [wordings.A_MOMENT]}),
        ({"message": {"text": 5}}, {"message": {"text": [wordings.A_TEXT]}}),
        (
            {"message": {"text": "Hi", "tetx": "Hi"}},
            {"message": {"tetx": [NO_SUCH_PART]}},
        ),
    ],
)
def test_a_broadcast_is_told_what_is_wanted(
    document: dict[str, Any], errors: dict[str, Any]
) -> None:
    good = {"send_type": "individual", "to": "12025550110", "message": {"text": "Hi"}}
    assert broadcasts.BroadcastRequestSchema().validate({**good, **document}) == errors


@pytest.mark.parametrize("name", ["two\nlines", "tab\tbed", "bell\a", "del\x7f", "line\u2028break"])
@pytest.mark.parametrize(
    ("schema", "rest"),
    [
        (contacts.NewContactSchema, {"phones": ["2348179803743"]}),
        (groups.NewGroupSchema, {}),
        (sessions.NewSessionSchema, {"channel": "sandbox"}),
    ],
)
def test_a_name_is_one_line(schema: type[StrictSchema], rest: dict[str, Any], name: str) -> None:
    [(field, [said])] = schema().validate({"name": name, **rest}).items()
    assert (field, said) == ("name", "Must be a single line without control characters.")
    assert schema().validate({"name": "Zoë \u200d👩‍🚒", **rest}) == {}
