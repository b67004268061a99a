"""Broadcasts: one message for many recipients, with its counters."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment, Object
from service.models.sessions import FOREVER


class SendType(StrEnum):
    """The type of the entries in `to`."""

    INDIVIDUAL = "individual"
    GROUP = "group"


class OnInvalid(StrEnum):
    """The treatment of a broadcast with invalid entries in `to`."""

    REJECT = "reject"
    SKIP = "skip"


class BroadcastStatus(StrEnum):
    """The status of a broadcast."""

    SCHEDULED = "scheduled"
    SENDING = "sending"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class StepCondition(StrEnum):
    """What a step of a fallback waits for in the way before it.

    `failed`: its failure. `undelivered`: that too, or some minutes without a receipt.
    """

    FAILED = "failed"
    UNDELIVERED = "undelivered"


UNFINISHED = (BroadcastStatus.SCHEDULED, BroadcastStatus.SENDING, BroadcastStatus.PAUSED)


class Broadcast(Object, Base):
    """One message for many recipients.

    `to` and `message` are stored as the client gave them; `to` is cut after 1,000 entries, see
    `to_truncated`. `content` is the resolved message, so deleting a contact or renaming a file does
    not change an accepted broadcast. `personalisation` configures its placeholders; null: it has
    none. `audience` is a request for the recipients of an earlier broadcast. `sample` is how many
    recipients get the message before the broadcast pauses, and null after it resumes. Until then
    the other recipients stay in their chunks. `parts` is the number of provider messages of a
    delivery. `total` is frozen when the broadcast is accepted. The seven counters change in the
    same transactions as the deliveries. `total` minus their sum is the number of open deliveries,
    and `closed_at` is set while that is 0. `replies` counts replies of its recipients. `numbering`
    is the numbering plan for `to`. `countries` counts recipients by country; null: an older version
    made it. `bytes` is what its message and recipients take of the client's limit. `revision`
    counts how often its message and recipients were replaced. `window`, `opens_at` and `closes_at`
    are like those of a session. `waits_for` is `template` while it is paused for no other reason
    than that its template cannot be used: `core.template_holds`.
    `fallback` are the steps that follow, in order: who is not reached gets the message through
    their sessions. Each step is a way: a hidden broadcast with `parent_id`, whose `step` counts
    from 1. `first_way_id` is the way with step 0, which keeps what the broadcast's own session did
    with the deliveries that were passed on; null: the broadcast has no ways.
    """

    __tablename__ = "broadcasts"
    __table_args__ = (
        Index(None, "client_id", "id"),
        Index(None, "session_id"),
        Index(
            "uq_broadcasts_parent_id_step",
            "parent_id",
            "step",
            unique=True,
            sqlite_where=text("parent_id IS NOT NULL"),
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        UniqueConstraint("client_id", "idempotency_key"),
        Index(
            "ix_broadcasts_unfinished",
            "status",
            "session_id",
            "id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(
            "ix_broadcasts_open_of_client",
            "client_id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    session_id: Mapped[str | None] = mapped_column(Id, ForeignKey("sessions.id"))
    send_type: Mapped[str]
    to: Mapped[Any] = mapped_column(JSON)
    to_truncated: Mapped[bool] = mapped_column(default=False)
    numbering: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    countries: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    message: Mapped[dict[str, Any]] = mapped_column(JSON)
    content: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    personalisation: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    audience: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    fallback: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    parent_id: Mapped[str | None] = mapped_column(Id)
    step: Mapped[int | None]
    first_way_id: Mapped[str | None] = mapped_column(Id)
    sample: Mapped[int | None]
    parts: Mapped[int]
    status: Mapped[str]
    reason: Mapped[str | None]
    waits_for: Mapped[str | None]
    send_at: Mapped[int | None] = mapped_column(Moment)
    expires_at: Mapped[int] = mapped_column(Moment)
    window: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    opens_at: Mapped[int] = mapped_column(Moment, default=0, server_default=text("0"))
    closes_at: Mapped[int] = mapped_column(
        Moment, default=FOREVER, server_default=text(str(FOREVER))
    )
    closed_at: Mapped[int | None] = mapped_column(Moment)
    deleted_at: Mapped[int | None] = mapped_column(Moment)
    idempotency_key: Mapped[str | None]
    request_digest: Mapped[str] = mapped_column(default="", deferred=True)

    revision: Mapped[int] = mapped_column(default=0, server_default=text("0"))

    total: Mapped[int]
    sent: Mapped[int] = mapped_column(default=0)
    delivered: Mapped[int] = mapped_column(default=0)
    read: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    cancelled: Mapped[int] = mapped_column(default=0)
    uncertain: Mapped[int] = mapped_column(default=0)
    replies: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    bytes: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), default=0, server_default=text("0")
    )


class BroadcastAttachment(Base):
    """A broadcast's use of an attachment. It prevents the deletion of the file."""

    __tablename__ = "broadcast_attachments"
    __table_args__ = (Index(None, "attachment_id"),)

    broadcast_id: Mapped[str] = mapped_column(
        Id, ForeignKey("broadcasts.id", ondelete="CASCADE"), primary_key=True
    )
    attachment_id: Mapped[str] = mapped_column(Id, ForeignKey("attachments.id"), primary_key=True)


class RecipientChunk(Base):
    """A part of a broadcast's frozen recipients that has no delivery rows yet.

    `start` is the position of its first recipient in `to`. `recipients` are joined by commas.
    `variables` has a line of JSON per recipient, empty for a recipient without variables; it is
    null if no recipient has any. The transaction that inserts the delivery rows deletes the chunk,
    so an interrupted fan-out resumes by itself. `session_id` is that of its broadcast, by
    which the fan-out takes turns; empty: an older version stored it.
    """

    __tablename__ = "recipient_chunks"
    __table_args__ = (Index(None, "session_id", "broadcast_id"),)

    broadcast_id: Mapped[str] = mapped_column(
        Id, ForeignKey("broadcasts.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    session_id: Mapped[str] = mapped_column(Id, default="", server_default=text("''"))
    recipients: Mapped[str]
    variables: Mapped[str | None]
