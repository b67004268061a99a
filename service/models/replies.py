"""Replies: messages from recipients to a session."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service import ids
from service.models.base import Base, Id, Moment

_UNSETTLED = text("settled_at IS NULL")
_NONE_YET = text("0")
_HAS_FILE = text("file_due_at IS NOT NULL")


class Reply(Base):
    """A message from a person to a session.

    `recipient` is the sender, in the form that deliveries use. `forms` has all forms under which
    the sender may have been addressed, separated by spaces. `word` is the text, normalised for
    comparison with keywords: replies with the same word are counted together. `context_id` is the
    provider's id of the message that the reply quotes. `opt_out` is `stop` or `start` if the text
    is such a keyword, and `confirmation` is the text sent back. `written_at` is the provider's
    time.

    `broadcast_id` and `delivery_id` are the quoted message, or the last one that the sender got.
    They are null until `settled_at`, and for senders who got no message.

    `media` is what the provider said of a file that came with it, if the session keeps files. It is
    fetched at `file_due_at`, tried `file_attempts` times so far, and becomes the attachment
    `attachment_id`; `file_problem` says why it did not.
    """

    __tablename__ = "replies"
    __table_args__ = (
        UniqueConstraint("session_id", "message_id"),
        Index(None, "client_id", "id"),
        Index(None, "recipient", "id"),
        Index(None, "broadcast_id", "id"),
        Index(None, "created_at"),
        Index("ix_replies_unsettled", "id", sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED),
        Index(
            "ix_replies_of_files",
            "file_due_at",
            sqlite_where=_HAS_FILE,
            postgresql_where=_HAS_FILE,
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new)
    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    session_id: Mapped[str] = mapped_column(Id, ForeignKey("sessions.id", ondelete="CASCADE"))
    message_id: Mapped[str]
    recipient: Mapped[str]
    forms: Mapped[str]
    name: Mapped[str | None]
    kind: Mapped[str]
    text: Mapped[str | None]
    word: Mapped[str | None]
    payload: Mapped[str | None]
    context_id: Mapped[str | None]
    media: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    attachment_id: Mapped[str | None] = mapped_column(Id)
    file_due_at: Mapped[int | None] = mapped_column(Moment)
    file_attempts: Mapped[int] = mapped_column(default=0, server_default=_NONE_YET)
    file_problem: Mapped[str | None]
    opt_out: Mapped[str | None]
    confirmation: Mapped[str | None]
    broadcast_id: Mapped[str | None] = mapped_column(Id)
    delivery_id: Mapped[str | None] = mapped_column(Id)
    written_at: Mapped[int] = mapped_column(Moment)
    created_at: Mapped[int] = mapped_column(Moment)
    settled_at: Mapped[int | None] = mapped_column(Moment)
