"""Groups: named lists of contacts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Long, Object


class Group(Object, Base):
    """A named list of contacts, maintained by hand or by a rule.

    A rule selects members by tags and fields; `core.rules` reads it. `is_default` is a mark of the
    client, which Crier only stores. `roster` is the first position of the members in force, and -1
    hides the group (`core.rosters`).
    """

    __tablename__ = "groups"
    __table_args__ = (
        UniqueConstraint("client_id", "name"),
        Index(
            "ix_groups_hidden",
            "created_at",
            sqlite_where=text("roster < 0"),
            postgresql_where=text("roster < 0"),
        ),
    )

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False, server_default=false())
    rule: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    roster: Mapped[int] = mapped_column(Long, default=0, server_default=text("0"))


class GroupMember(Base):
    """The membership of a contact in a group."""

    __tablename__ = "group_members"
    __table_args__ = (Index(None, "contact_id"),)

    group_id: Mapped[str] = mapped_column(
        Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=False)
    contact_id: Mapped[str] = mapped_column(Id, ForeignKey("contacts.id", ondelete="CASCADE"))
