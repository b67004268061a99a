"""Contacts, and the groups they are in."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, validates

from service.models.base import Base, Id, Object


class Contact(Object, Base):
    """Somebody's card; phones are E.164 digits, and `number` is the first of them.

    `fields` are texts under names of the client's own, `tags` its words for some of its contacts;
    either is null on cards older than they are. `channel` is a word of the client's own: the
    service only keeps it.
    """

    __tablename__ = "contacts"
    __table_args__ = (Index(None, "client_id", "id"), Index(None, "client_id", "number"))

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    phones: Mapped[list[str]] = mapped_column(JSON)
    emails: Mapped[list[str]] = mapped_column(JSON)
    organisation: Mapped[str] = mapped_column(default="")
    channel: Mapped[str | None]
    number: Mapped[str | None]
    fields: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))

    @validates("phones")
    def _keep_number(self, _: str, phones: list[str]) -> list[str]:
        """Let `number`, by which a contact is found, follow its phones."""
        self.number = phones[0]
        return phones
