"""Downloads of the files that people send to a phone number.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#get-media-url
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from service.channels.answers import Answer, read, refusal
from service.channels.base import InboundFile
from service.channels.drivers.whatsapp_cloud.errors import refused
from service.channels.errors import PermanentError, SendError
from service.channels.steps import Conversation, download, get

_ID: Final = re.compile(r"[0-9]{1,64}")


_UNKNOWN: Final = "100"
"""Meta's code for an id that it does not know, or no longer."""


class Downloads:
    """Fetches files from Meta. `graph` is the URL of the Graph API with its version."""

    def __init__(self, graph: str, number_id: str, credentials: Sequence[str]) -> None:
        self._graph = graph
        self._number_id = number_id
        self._credentials = credentials

    def fetch(self, file: InboundFile) -> Conversation[None]:
        """Ask for a file's address, which is valid for five minutes, and fetch it from there."""
        media_id = file.said.get("id", "")
        if not _ID.fullmatch(media_id):
            raise PermanentError("Meta told no id of the file.", code="no_id")
        asked = f"{self._graph}/{media_id}?phone_number_id={self._number_id}"
        answer = yield get(asked, self._credentials)
        if not answer.accepted:
            raise _meaning(answer)
        url = str(read(answer.body).get("url") or "")
        if not self._may_have_token(url):
            raise PermanentError("Meta told no https address of the file.", code="no_address")
        answer = yield download(url, self._credentials, file.sink)
        if not answer.accepted:
            raise refusal(answer)

    def _may_have_token(self, url: str) -> bool:
        """Return whether a URL is encrypted, or is on the server that has the token anyway."""
        server = "/".join(self._graph.split("/", 3)[:3])
        return url.startswith(("https://", f"{server}/"))


def _meaning(answer: Answer) -> SendError:
    """Return why Meta does not tell an address."""
    error = refused(answer)
    return PermanentError(error.reason, code=error.code) if error.code == _UNKNOWN else error
