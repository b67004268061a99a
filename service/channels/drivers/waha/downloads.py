"""Downloads of the files that people send to a session.

WAHA keeps them for some minutes, below `/api/files`, or in a bucket of S3.
https://waha.devlike.pro/docs/how-to/receive-messages/#files
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from service.channels.answers import refusal
from service.channels.base import InboundFile
from service.channels.errors import PermanentError
from service.channels.steps import Conversation, download

_OF_WAHA: Final = re.compile(r"/api(/files/[A-Za-z0-9@%~_\-.+=]+(?:/[A-Za-z0-9@%~_\-.+=]+)*)")


def fetch(file: InboundFile, api: str, credentials: Sequence[str]) -> Conversation[None]:
    """Fetch a file; `api` is the address of WAHA's API. Raises SendError.

    WAHA writes its own name into the address, which may lead nowhere from here: only the path
    counts. Another server gets no key.
    """
    url = file.said.get("url", "")
    if not url.startswith(("http://", "https://")):
        raise PermanentError("WAHA did not download the file.", code="no_address")
    path = _path(url)
    answer = yield download(f"{api}{path}" if path else url, credentials if path else (), file.sink)
    if not answer.accepted:
        raise refusal(answer)


def _path(url: str) -> str:
    """Return the path of one of WAHA's own files below its API, empty for any other address."""
    try:
        found = _OF_WAHA.fullmatch(urlsplit(url).path)
    except ValueError:
        return ""
    return found[1] if found and ".." not in found[1] else ""
