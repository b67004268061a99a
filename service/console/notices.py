"""Notices: one sentence about the last action, shown on the next page.

It travels in a cookie that is signed with the secret of the sign-in: nobody else can put words
into the console's mouth.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple

from flask import Response, g

from service.blueprints.requests import request

_COOKIE = "crier_notice"
_LONGEST = 600


class Notice(NamedTuple):
    """A sentence, and whether it is about a failure."""

    sentence: str
    is_failure: bool


def give(sentence: str, *, is_failure: bool = False) -> None:
    """Show a sentence on the next page."""
    g.notice = Notice(sentence[:_LONGEST], is_failure)


def take(secret: str) -> Notice | None:
    """Return the sentence that the previous answer left."""
    mac, _, packed = request.cookies.get(_COOKIE, "").partition(".")
    if not packed or not hmac.compare_digest(mac.encode(), _mac(secret, packed).encode()):
        return None
    g.is_notice_taken = True
    said = base64.urlsafe_b64decode(packed).decode()
    return Notice(said[1:], said[0] == "!")


def store(response: Response, secret: str, path: str) -> None:
    """Keep the sentence of this answer for the next page, or forget the one that was shown."""
    given: Notice | None = g.get("notice")
    if given is not None:
        said = ("!" if given.is_failure else ".") + given.sentence
        packed = base64.urlsafe_b64encode(said.encode()).decode()
        value = f"{_mac(secret, packed)}.{packed}"
        secure = request.is_secure
        response.set_cookie(
            _COOKIE, value, max_age=60, path=path, httponly=True, samesite="Lax", secure=secure
        )
    elif g.get("is_notice_taken"):
        response.delete_cookie(_COOKIE, path=path)


def _mac(secret: str, packed: str) -> str:
    return hmac.new(secret.encode(), packed.encode(), hashlib.sha256).hexdigest()
