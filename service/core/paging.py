"""Paging: the requested page, and the returned page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, UnaryExpression, func
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.orm import Session as Db

from service.errors import InvalidError

DEFAULT_SIZE = 100
LARGEST_SIZE = 1_000

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The requested page. Pages count from 1; the oldest object is first."""

    page: int = 1
    page_size: int = DEFAULT_SIZE
    descending: bool = False

    @property
    def offset(self) -> int:
        """Return the number of objects before this page."""
        return (self.page - 1) * self.page_size

    def last_page(self, total: int) -> int:
        """Return the last page of a list of `total` objects; 1 if it is empty."""
        return max(1, -(-total // self.page_size))

    def check(self, total: int) -> None:
        """Raise InvalidError if this page is beyond the end of a list of `total` objects.

        Call it before `offset` reaches the database, which limits the size of numbers.
        """
        last = self.last_page(total)
        if self.page > last:
            raise InvalidError(errors={"page": [f"The last page is {last}."]})

    def order(self, key: InstrumentedAttribute[Any]) -> UnaryExpression[Any]:
        """Return the ORDER BY clause by `key`, a column that grows with time."""
        return key.desc() if self.descending else key.asc()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the length of the whole list."""

    items: Sequence[T]
    total: int
    request: PageRequest

    @property
    def page(self) -> int:
        """Return this page's number, from 1."""
        return self.request.page

    @property
    def page_size(self) -> int:
        """Return the size of a full page."""
        return self.request.page_size

    @property
    def last_page(self) -> int:
        """Return the number of the last page."""
        return self.request.last_page(self.total)

    def map(self, change: Callable[[T], U]) -> Page[U]:
        """Return the same page with each object converted."""
        return Page([change(item) for item in self.items], self.total, self.request)


def fetch(
    db: Db,
    query: Select[T],
    key: InstrumentedAttribute[Any],
    request: PageRequest,
    *,
    total: int | None = None,
) -> Page[T]:
    """Fetch one page of the objects that `query` selects, ordered by the column `key`.

    A known `total` saves counting. Raises InvalidError beyond the last page.
    """
    if total is None:
        total = count(db, query)
    request.check(total)
    ordered = query.order_by(request.order(key)).limit(request.page_size).offset(request.offset)
    return Page(db.scalars(ordered).all(), total, request)


def count(db: Db, query: Select[Any]) -> int:
    """Count the rows that `query` selects."""
    counting = query.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    return db.scalar(counting) or 0
