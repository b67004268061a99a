"""Delivery events: the history of a delivery that its own row no longer shows."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class EventKind(StrEnum):
    """What happened to a delivery.

    `retrying`: an attempt failed, and another follows. `held`: its session or broadcast was held
    before the provider accepted it. `reopened`: the provider reported a failure after it had
    accepted the message, and Crier sends it again. `failed` and `uncertain`: this was its final
    status until a receipt changed it. `retried`: it had ended, and a client asked for a retry.
    `rescued`: its process died, and Crier sends it again. `delivered` and `read`: a receipt for one
    of several parts. `passed_on`: it was not reached, and goes on by another way.
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
    PASSED_ON = "passed_on"


class DeliveryEvent(Base):
    """An event of a delivery that later changes of its row have overwritten.

    A delivery without problems has no events. `part` counts from 0. `other_at` is a second time:
    the next attempt, or for `retried` the time at which the delivery had ended. There is no foreign
    key, because checking it for a million retries would take longer than the retries. Code that
    deletes deliveries must delete their events.
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
