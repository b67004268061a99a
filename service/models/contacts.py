"""Contacts and their addresses."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, validates

from service.models.base import Base, Id, Object


class Contact(Object, Base):
    """A person's contact. `phones` are E.164 digits, and `number` is the first of them.

    `fields` are texts under names that the client chooses, and `tags` are its labels. Both are null
    on contacts from older versions. `channel` is the client's own text, which Crier only stores.
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
        """Update `number`, the lookup key of a contact, from its phones."""
        self.number = phones[0]
        return phones
