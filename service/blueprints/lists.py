"""Lists of people in requests: the file of a form, read as its columns and its client say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from service.blueprints.context import caller
from service.blueprints.requests import request
from service.core.numbering import Numbering
from service.errors import InvalidError
from service.lists import tables
from service.lists.base import ListError
from service.lists.tables import Table

_MISSING = (
    "Send the file as a part of this name in a form (multipart/form-data), and the token in the"
    " header."
)


def numbering(body: Mapping[str, Any]) -> Numbering:
    """Return how the numbers of a request are meant: as it says, else as its client does."""
    return caller().numbering.merged(body)


def table(name: str, columns: Mapping[str, str], meant: Numbering) -> Table:
    """Return the list of a request's form; raises InvalidError, under the name of its part."""
    given = request.list_file
    if given is None:
        raise InvalidError(errors={name: [_MISSING]})
    normalise, _ = meant.way()
    given.file.seek(0)
    with told(name):
        return tables.read(
            given.file,
            wanted=columns,
            is_number=lambda text: normalise(text) is not None,
            charset=given.charset,
        )


@contextmanager
def told(name: str) -> Iterator[None]:
    """Let what is wrong with a list be told of the part of that name."""
    try:
        yield
    except ListError as error:
        raise InvalidError(errors={name: [str(error)]}) from error
