"""The fields and habits that all schemas share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields

from service.schemas.base import CredentialsSchema, LenientSchema, Shown, StrictSchema
from service.schemas.fields import Derived, Flag, Moment, Name, Omitted, is_id, show_moment


class Sample(StrictSchema):
    at = Moment(allow_none=True)
    name = Name()
    flag = Flag()


class Lenient(LenientSchema):
    needed = fields.String(required=True)
    optional = fields.String(data_key="Optional")


def refused(schema: Schema, data: Any) -> list[str]:
    with pytest.raises(ValidationError) as refusal:
        schema.load(data)
    messages = refusal.value.messages
    assert isinstance(messages, dict)
    return list(messages)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (1639035198698, "2021-12-09T07:33:18.698Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (32503679999999, "2999-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_shown_as_the_guide_shows_it(milliseconds: int, text: str) -> None:
    assert show_moment(milliseconds) == text
    assert Sample().dump({"at": milliseconds})["at"] == text
    assert Sample().load({"at": text})["at"] == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999Z",
        "3000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_moment_that_no_calendar_could_add_to_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Sample().load({"at": text})


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - hypothesis wants them naive
def test_a_moment_may_be_given_in_any_time_zone(moment: datetime, minutes: int) -> None:
    utc = moment.replace(tzinfo=UTC)
    there = (utc + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()
    sign, (hours, rest) = "-+"[minutes >= 0], divmod(abs(minutes), 60)
    loaded = Sample().load({"at": f"{there}{sign}{hours:02}:{rest:02}"})["at"]
    assert loaded == int(utc.timestamp()) * 1000 + utc.microsecond // 1000


@pytest.mark.parametrize(
    "given", ["2021-12-09T07:33:18", "2021-12-09", "now", 1639035198, True, ""]
)
def test_a_moment_without_a_time_zone_is_none(given: Any) -> None:
    assert refused(Sample(), {"at": given}) == ["at"]


def test_no_moment_is_null() -> None:
    assert Sample().dump({"at": None}) == {"at": None}
    assert Sample().load({"at": None}) == {"at": None}


def test_a_name_loses_the_blanks_around_it() -> None:
    assert Sample().load({"name": "\tAda Obi \n"}) == {"name": "Ada Obi"}
    for name in ("", "  ", "x" * 201, 5, None):
        assert refused(Sample(), {"name": name}) == ["name"]


def test_a_flag_is_true_or_false_and_nothing_like_it() -> None:
    assert Sample().load({"flag": True}) == {"flag": True}
    assert Sample().load({"flag": False}) == {"flag": False}
    values: list[Any] = ["true", 1, 0, [], {}, None]
    for value in values:
        assert refused(Sample(), {"flag": value}) == ["flag"]


def test_unknown_fields_are_refused() -> None:
    assert refused(Sample(), {"nickname": "x"}) == ["nickname"]
    assert refused(Lenient(), {"needed": "x", "nickname": ""}) == ["nickname"]


def test_optional_fields_that_say_nothing_are_absent_and_required_ones_are_not() -> None:
    assert Lenient().load({"needed": "", "Optional": ""}) == {"needed": ""}
    assert Lenient().load({"needed": "x", "Optional": None}) == {"needed": "x"}
    assert refused(Lenient(), {"needed": None}) == ["needed"]
    assert refused(Lenient(), "text") == ["_schema"]


def test_credentials_do_not_reach_the_view() -> None:
    assert CredentialsSchema().load({"session_id": "", "access_token": None}) == {}


def test_a_row_can_be_shown_with_more_than_it_has() -> None:
    class Output(Schema):
        path = Derived(lambda row: f"/{row.name}")
        size = fields.Integer()
        owner = Omitted()

    row = Shown(Shown(None, name="a", owner=None), size=5)
    assert Output().dump(row) == {"path": "/a", "size": 5}
    assert Output().dump(Shown(row, owner="Ada"))["owner"] == "Ada"


@pytest.mark.parametrize("text", ["", "0" * 23, "0" * 25, "G" * 24, "A" * 24, "0" * 24 + "\n"])
def test_what_has_not_the_form_of_an_id_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        is_id(text)
