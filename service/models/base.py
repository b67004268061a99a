"""The base classes of all tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from service import ids
from service.database import now_ms

Id = String(ids.LENGTH).with_variant(String(ids.LENGTH, collation="C"), "postgresql")
"""An id. Both databases compare it byte by byte, so that order and ranges agree."""

Long = BigInteger().with_variant(Integer(), "sqlite")
"""An integer of 64 bits."""

Moment = BigInteger().with_variant(Integer(), "sqlite")
"""Milliseconds of Unix time, UTC: the same number, order and arithmetic on both databases."""


class Base(DeclarativeBase):
    """The registry of all tables, with predictable names for constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text}  # noqa: RUF012 - SQLAlchemy reads it from the class


def next_version(current: int | None) -> int:
    """Return the next version of an object, counted from 0 like `__v` in the API."""
    return 0 if current is None else current + 1


class Object:
    """An object of the API: an id that sorts by time, two timestamps and a version.

    Every ORM update checks the version. If two writers read the same version, the second gets
    StaleDataError.
    """

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new, sort_order=-1)
    created_at: Mapped[int] = mapped_column(Moment, default=now_ms, sort_order=1)
    updated_at: Mapped[int] = mapped_column(Moment, default=now_ms, onupdate=now_ms, sort_order=1)
    version: Mapped[int] = mapped_column(Integer, default=0, sort_order=1)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy calls it on the class
        return {"version_id_col": cls.version, "version_id_generator": next_version}
