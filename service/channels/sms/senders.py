"""Countries whose carriers accept only numbers as senders, never names."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import phonenumbers

REFUSING: Final = {
    "CA": "Canada",
    "CN": "China",
    "PR": "Puerto Rico",
    "US": "the United States",
}
"""https://docs.aws.amazon.com/sms-voice/latest/userguide/sender-id.html and
https://developers.telnyx.com/docs/messaging/messages/alphanumeric-sender-id"""

_CODES: Final = ("1", "86")
"""The calling codes of these countries. Twenty other countries share the first."""


def refusing(recipient: str) -> str:
    """Return the name of a recipient's country if it accepts no names, empty if it does."""
    return REFUSING.get(_region(recipient), "") if recipient.startswith(_CODES) else ""


@lru_cache(10_000)
def _region(recipient: str) -> str:
    """Return the country of a number. Most numbers with the code 1 are American."""
    try:
        number = phonenumbers.parse(f"+{recipient}")
    except phonenumbers.NumberParseException:
        return ""
    usual = phonenumbers.region_code_for_country_code(number.country_code or 0)
    return phonenumbers.region_code_for_number(number) or usual
