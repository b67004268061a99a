"""WhatsApp ids: a person's number, which differs in form in three countries."""

from __future__ import annotations

import re
from typing import Final

_FORMS: Final = tuple(
    (re.compile(pattern), other)
    for pattern, other in (
        (r"(55[0-9]{2})9([0-9]{8})", r"\1\2"),  # Brazil, with and without the ninth digit
        (r"(55[0-9]{2})([0-9]{8})", r"\g<1>9\2"),
        (r"521([0-9]{10})", r"52\1"),  # Mexico, with and without the former 1
        (r"52([0-9]{10})", r"521\1"),
        (r"549([0-9]{10})", r"54\1"),  # Argentina, with and without the 9 of mobile phones
        (r"54([0-9]{10})", r"549\1"),
    )
)
_COUNTRIES: Final = ("52", "54", "55")


def spellings(wa_id: str) -> list[str]:
    """Return all spellings of the number of a person with this id."""
    if not wa_id.startswith(_COUNTRIES):
        return [wa_id]
    others = (match.expand(other) for form, other in _FORMS if (match := form.fullmatch(wa_id)))
    return [wa_id, *others]
