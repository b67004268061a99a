"""Long answers: pages of many objects, and exports.

Each keeps a thread and the interpreter busy for seconds. So a process makes few of them at a time,
and fewer for one client. Otherwise everybody's short requests would wait. An export consists of
`pages`, which takes a place, and is sent as a `file`. The API and the console both use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from flask import Response
from sqlalchemy.orm import Session as Db

from service.blueprints.context import caller, crier, when_sent
from service.database import Database
from service.errors import TooManyAnswersError

T = TypeVar("T")

LONG: Final = 100
"""A page of this many entries is a long answer."""


def begin() -> None:
    """Take a place until the answer is sent; raises TooManyAnswersError."""
    client_id, places = caller().client_id, crier().long_answers
    if not places.enter(client_id):
        raise TooManyAnswersError
    when_sent(partial(places.leave, client_id))


def pages(read: Callable[[Db, T | None], Sequence[T]], size: int) -> Iterator[Sequence[T]]:
    """Take a place, and return the pages of an export; raises TooManyAnswersError.

    `read` returns the entries after a given one, or the first ones for None. A page of fewer than
    `size` entries is the last. No transaction is open while a page is sent.
    """
    begin()
    return _pages(crier().database, read, size)


def _pages(
    database: Database, read: Callable[[Db, T | None], Sequence[T]], size: int
) -> Iterator[Sequence[T]]:
    last, count = None, size
    while count == size:
        with database.reading() as db:
            found = read(db, last)
        count = len(found)
        if found:
            last = found[-1]
            yield found


def file(content: Iterator[bytes], mimetype: str, filename: str) -> Response:
    """Return a file that is generated while it is sent."""
    response = Response(content, mimetype=mimetype)
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    return response
