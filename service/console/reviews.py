"""Reviews: whether the message that a person checked is still the one that would be sent.

The values of a contact may change between the review and *Send*, and a card, and a template's
parameters. So the form carries a mark of each message that was shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from service.blueprints.requests import request
from service.console.language import gettext as _
from service.core import previews
from service.core.intake import Plan
from service.core.previews import Message
from service.errors import ConflictError

SHOWN: Final = "shown"
"""The field of the form with the marks."""

_MARK: Final = 32


class StaleReviewError(ConflictError):
    """The message has changed since you looked at it."""


def marks(messages: Iterable[Message]) -> list[str]:
    """Return the marks of the messages that a review shows."""
    return [_mark(message) for message in messages]


def check(plan: Plan) -> None:
    """Raise StaleReviewError if a recipient would get another message than the review showed.

    Who is not among the recipients any more gets none, and is no reason to look again.
    """
    shown = dict(mark.rpartition(" ")[::2] for mark in request.form.getlist(SHOWN))
    people = enumerate(plan.people.unique if shown else ())
    places = [place for place, recipient in people if recipient in shown]
    for message in previews.messages(plan, places):
        if _mark(message) != f"{message.recipient} {shown[message.recipient]}":
            reason = _("The message has changed since you reviewed it. Nothing was sent.")
            raise StaleReviewError(reason)


def _mark(message: Message) -> str:
    said = repr(message.parts).encode("utf-8", "surrogatepass")
    return f"{message.recipient} {hashlib.sha256(said).hexdigest()[:_MARK]}"
