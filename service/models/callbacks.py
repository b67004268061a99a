"""Callbacks: the URLs of clients, and the events posted to them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment, Object


class EventType(StrEnum):
    """The types of event that a client can receive."""

    BROADCAST_COMPLETED = "broadcast.completed"
    BROADCAST_PAUSED = "broadcast.paused"
    BROADCAST_HELD = "broadcast.held"
    BROADCAST_RESUMED = "broadcast.resumed"
    DELIVERY_UPDATED = "delivery.updated"
    REPLY_RECEIVED = "reply.received"
    REPLY_UPDATED = "reply.updated"
    SESSION_HELD = "session.held"
    SESSION_READY = "session.ready"
    OPT_OUT_CHANGED = "opt_out.changed"


class EventStatus(StrEnum):
    """The status of an event."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Callback(Object, Base):
    """A URL of a client, and the types of event that Crier posts to it.

    `secrets` holds its signing key, encrypted like the secrets of sessions. From `paused_at` on it
    gets no events, because of `reason`. `failing_since` is the first failure after the last
    success.
    """

    __tablename__ = "callbacks"
    __table_args__ = (Index(None, "client_id", "id"),)

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    url: Mapped[str]
    events: Mapped[list[Any]] = mapped_column(JSON)
    secrets: Mapped[str]
    sealed_by: Mapped[str | None]
    paused_at: Mapped[int | None] = mapped_column(Moment)
    reason: Mapped[str | None]
    failing_since: Mapped[int | None] = mapped_column(Moment)


class CallbackEvent(Base):
    """An event for a callback, stored in the transaction that caused it.

    The events of one `subject`, a broadcast or a session, are posted in the order of `sequence` and
    then of ids. `body` is posted unchanged at each attempt. `problem` is the error of the last
    attempt. The event is dropped at `expires_at`.
    """

    __tablename__ = "callback_events"
    __table_args__ = (
        Index(None, "callback_id", "id"),
        Index(None, "created_at"),
        Index(
            "ix_callback_events_waiting",
            "callback_id",
            "subject",
            "sequence",
            "id",
            sqlite_where=text("status = 'waiting'"),
            postgresql_where=text("status = 'waiting'"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    callback_id: Mapped[str] = mapped_column(Id, ForeignKey("callbacks.id", ondelete="CASCADE"))
    subject: Mapped[str] = mapped_column(Id)
    sequence: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"))
    type: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int]
    problem: Mapped[str | None]
    created_at: Mapped[int] = mapped_column(Moment)
    expires_at: Mapped[int] = mapped_column(Moment)
    delivered_at: Mapped[int | None] = mapped_column(Moment)


class CallbackQueue(Base):
    """The queued events of one subject for one callback. The first is posted at `due_at`.

    The process that posts it first moves `due_at` past its time-out, so that no other posts it.
    """

    __tablename__ = "callback_queues"
    __table_args__ = (Index(None, "due_at"),)

    callback_id: Mapped[str] = mapped_column(
        Id, ForeignKey("callbacks.id", ondelete="CASCADE"), primary_key=True
    )
    subject: Mapped[str] = mapped_column(Id, primary_key=True)
    due_at: Mapped[int] = mapped_column(Moment)
    attempts: Mapped[int]
