"""Contacts, and the groups they are in."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Object


class Contact(Object, Base):
    """Somebody's card; phones are E.164 digits, the first one is where messages go.

    `channel` is a word of the client's own: the service only keeps it.
    """

    __tablename__ = "contacts"
    __table_args__ = (Index(None, "client_id", "id"),)

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    phones: Mapped[list[str]] = mapped_column(JSON)
    emails: Mapped[list[str]] = mapped_column(JSON)
    organisation: Mapped[str] = mapped_column(default="")
    channel: Mapped[str | None]


class Group(Object, Base):
    """A named list of contacts; `is_default` is a mark of the client's own, which we only keep."""

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("client_id", "name"),)

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False, server_default=false())


class GroupMember(Base):
    """A contact's place in a group."""

    __tablename__ = "group_members"
    __table_args__ = (Index(None, "contact_id"),)

    group_id: Mapped[str] = mapped_column(
        Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    contact_id: Mapped[str] = mapped_column(Id, ForeignKey("contacts.id", ondelete="CASCADE"))
