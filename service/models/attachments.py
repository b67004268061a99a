"""Attachments: the files that messages carry."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Object


class Attachment(Object, Base):
    """A stored file; one without a client is shared by all and deleted by none.

    `session_id` is set where a session's own token stored it: that token sees no other files of the
    client. `type` is the ending of its stored name (`jpeg`), `filename` the client's own name for
    it, `size` in bytes.
    """

    __tablename__ = "attachments"
    __table_args__ = (Index(None, "client_id", "id"),)

    client_id: Mapped[str | None] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    session_id: Mapped[str | None] = mapped_column(Id)
    type: Mapped[str]
    mimetype: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)
    filename: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
