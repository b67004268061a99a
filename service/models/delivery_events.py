"""Delivery events: the history of a delivery that its own row no longer tells."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class EventKind(StrEnum):
    """What happened to a delivery.

    `retrying`: an attempt failed, another one follows. `held`: its session or broadcast was held
    before the provider took it. `reopened`: the provider reported a failure after it had taken the
    message, and it is sent again. `failed` and `uncertain`: it had ended so, and a receipt said
    otherwise. `retried`: it had ended, and somebody asked for a retry. `rescued`: its process died,
    and it is sent again. `delivered` and `read`: a receipt for one of several parts.
    """

    RETRYING = "retrying"
    HELD = "held"
    REOPENED = "reopened"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    RETRIED = "retried"
    RESCUED = "rescued"
    DELIVERED = "delivered"
    READ = "read"


class DeliveryEvent(Base):
    """Something that happened to a delivery and that later changes of its row have overwritten.

    A delivery that goes well has none. `part` counts from 0. `other_at` is a second moment: when
    it is tried again, or for `retried` when it had ended. There is no foreign key: a check for each
    of a million retries would take longer than the retry. Whoever deletes deliveries deletes these.
    """

    __tablename__ = "delivery_events"

    delivery_id: Mapped[str] = mapped_column(Id, primary_key=True)
    at: Mapped[int] = mapped_column(Moment, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, default=0, server_default=text("0")
    )
    code: Mapped[str | None]
    reason: Mapped[str | None]
    other_at: Mapped[int | None] = mapped_column(Moment)
