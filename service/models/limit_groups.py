"""Limit groups: whom sessions with a daily limit have written to in the last 24 hours."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service import ids
from service.models.base import Base, Id, Moment


class LimitGroup(Base):
    """The sessions of a client that share a daily limit, under the name that they give it.

    A session that names no group is alone in one with its own id as the name. `counted` is how
    many rows of counted recipients there are. Whoever changes them locks this row first.
    """

    __tablename__ = "limit_groups"
    __table_args__ = (UniqueConstraint("client_id", "name"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new)
    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    counted: Mapped[int] = mapped_column(default=0)


class CountedRecipient(Base):
    """A recipient who counts towards a daily limit: somebody who may just have got a message.

    `counted_at` is when the last delivery to them was claimed. `is_single`: no other claim has
    counted them, so that they do not count if that one is given back.
    """

    __tablename__ = "counted_recipients"
    __table_args__ = (Index(None, "limit_group_id", "counted_at"),)

    limit_group_id: Mapped[str] = mapped_column(
        Id, ForeignKey("limit_groups.id", ondelete="CASCADE"), primary_key=True
    )
    recipient: Mapped[str] = mapped_column(primary_key=True)
    counted_at: Mapped[int] = mapped_column(Moment)
    is_single: Mapped[bool]
