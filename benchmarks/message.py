"""The message that everybody sends, as the Cloud API wants it."""

from __future__ import annotations

TEXT = "Doors open at seven. Bring this message and a friend."
PATH = "/v23.0/1/messages"
HEADERS = {"Authorization": "Bearer t", "Content-Type": "application/json"}
FIRST_NUMBER = 2348030000000
"""Nigerian mobile numbers: thirteen digits, and ten million of them in one block that exists."""


def body(recipient: str, reference: str) -> str:
    """Return the JSON of one message."""
    return (
        '{"messaging_product":"whatsapp","recipient_type":"individual","type":"text",'
        f'"text":{{"body":"{TEXT}","preview_url":false}},"to":"{recipient}",'
        f'"biz_opaque_callback_data":"{reference}.0"}}'
    )
