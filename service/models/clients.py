"""Clients, the tenants of the service, and their tokens."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Moment, Object


class Client(Object, Base):
    """Somebody who sends: everything else belongs to one of these.

    From `disabled_at` on, none of its tokens is accepted.
    """

    __tablename__ = "clients"

    name: Mapped[str] = mapped_column(unique=True)
    disabled_at: Mapped[int | None] = mapped_column(Moment)
