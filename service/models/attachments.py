"""Attachments: the files that clients upload for messages."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Object


class Attachment(Object, Base):
    """A stored file. A file without a client is shared by all clients, and no client can delete it.

    `session_id` is set if a session's own token stored the file, or if a person sent it to the
    session, with the reply `reply_id`. That token sees no other files of the client. `type` is the
    extension of its stored name (`jpeg`). `filename` is the client's name for it. `size` is in
    bytes.
    """

    __tablename__ = "attachments"
    __table_args__ = (Index(None, "client_id", "id"),)

    client_id: Mapped[str | None] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    session_id: Mapped[str | None] = mapped_column(Id)
    reply_id: Mapped[str | None] = mapped_column(Id)
    type: Mapped[str]
    mimetype: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)
    filename: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
