"""Groups: named lists of contacts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Object


class Group(Object, Base):
    """A named list of contacts, maintained by hand or by a rule.

    A rule selects members by tags and fields; `core.rules` reads it. `is_default` is a mark of the
    client, which Crier only stores.
    """

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("client_id", "name"),)

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False, server_default=false())
    rule: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class GroupMember(Base):
    """The membership of a contact in a group."""

    __tablename__ = "group_members"
    __table_args__ = (Index(None, "contact_id"),)

    group_id: Mapped[str] = mapped_column(
        Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    contact_id: Mapped[str] = mapped_column(Id, ForeignKey("contacts.id", ondelete="CASCADE"))
