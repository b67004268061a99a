"""Usages and shared rates: how much of its limits each client has used."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id

_Count = BigInteger().with_variant(Integer(), "sqlite")


class Usage(Base):
    """What a client has stored and used.

    `contacts` is how many there are, `bytes` the size of its attachments, contacts and broadcasts.
    `recipients` is of the broadcasts accepted on `day`, counted from 1970-01-01 in UTC. Few objects
    of other kinds exist, so they are counted when it matters. Whoever stores something changes the
    row last in its transaction, and so waits for others who store something for the same client.
    """

    __tablename__ = "usages"

    client_id: Mapped[str] = mapped_column(
        Id, ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True
    )
    contacts: Mapped[int] = mapped_column(_Count)
    bytes: Mapped[int] = mapped_column(_Count)
    recipients: Mapped[int] = mapped_column(_Count)
    day: Mapped[int]


class SharedRate(Base):
    """The time, in microseconds, up to which a rate is spent that several machines share."""

    __tablename__ = "shared_rates"
    __table_args__ = (Index(None, "spent_until"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    spent_until: Mapped[int] = mapped_column(_Count)
