"""Faults of a request, by field."""

from __future__ import annotations

from service.core import faults


def test_nested_messages_become_dotted_fields() -> None:
    messages = {
        "to": ["No."],
        "message": {"location": {"lat": ["A."], "_schema": ["B."]}, "attachments": {1: ["C."]}},
        "_schema": ["D."],
    }
    assert faults.flatten(messages) == {
        "to": ["No."],
        "message.location.lat": ["A."],
        "message.location": ["B."],
        "message.attachments.1": ["C."],
        "body": ["D."],
    }


def test_a_single_message_is_a_list_of_one() -> None:
    assert faults.flatten({"to": "No."}) == {"to": ["No."]}
    assert faults.flatten("No.") == {"body": ["No."]}


def test_faults_of_a_part_are_put_under_its_name() -> None:
    flat = faults.flatten({"token": ["A."], "_schema": ["B."]})
    assert faults.under("settings", flat) == {"settings.token": ["A."], "settings": ["B."]}
