"""Callbacks: the addresses at which a client wants to be told, and what it is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment, Object


class EventType(StrEnum):
    """What a client can be told of."""

    BROADCAST_COMPLETED = "broadcast.completed"
    BROADCAST_PAUSED = "broadcast.paused"
    BROADCAST_HELD = "broadcast.held"
    DELIVERY_UPDATED = "delivery.updated"
    REPLY_RECEIVED = "reply.received"
    SESSION_HELD = "session.held"
    SESSION_READY = "session.ready"
    OPT_OUT_CHANGED = "opt_out.changed"


class EventStatus(StrEnum):
    """Where an event stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Callback(Object, Base):
    """An address of a client's, and the types of event that are posted to it.

    `secrets` holds the key of its signatures, encrypted as those of sessions are. It gets no events
    from `paused_at` on, for `reason`. `failing_since` is the first failure since the last success.
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
    """Something that a callback is told of, stored in the transaction that caused it.

    Events of one `subject`, a broadcast or a session, are posted in the order of `sequence`, then
    of ids. `body` is what is posted, the same at each attempt; `problem` is what the last attempt
    came to. It is given up at `expires_at`.
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
    """The events of one subject that wait for one callback; the first is posted at `due_at`.

    Whoever posts it moves `due_at` on for as long as that may take, so that nobody else does.
    """

    __tablename__ = "callback_queues"
    __table_args__ = (Index(None, "due_at"),)

    callback_id: Mapped[str] = mapped_column(
        Id, ForeignKey("callbacks.id", ondelete="CASCADE"), primary_key=True
    )
    subject: Mapped[str] = mapped_column(Id, primary_key=True)
    due_at: Mapped[int] = mapped_column(Moment)
    attempts: Mapped[int]
