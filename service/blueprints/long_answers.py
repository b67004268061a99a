"""Long answers: pages of many objects, and exports.

Each keeps a thread and the interpreter busy for seconds. So a process makes few of them at a time,
and fewer for one client, or the short requests of all others would wait.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from flask import Response, after_this_request

from service.blueprints.context import caller, crier
from service.errors import TooManyAnswersError

LONG: Final = 100
"""Entries of a page from which on it is long."""


def begin() -> None:
    """Take a place until the answer is sent; raises TooManyAnswersError."""
    client_id, places = caller().client_id, crier().long_answers
    if not places.enter(client_id):
        raise TooManyAnswersError

    @after_this_request
    def leave_at_end(response: Response) -> Response:
        response.call_on_close(partial(places.leave, client_id))
        return response
