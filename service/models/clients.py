"""Clients, the tenants of the service, and their tokens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Moment, Object


class Client(Object, Base):
    """Somebody who sends: everything else belongs to one of these.

    From `disabled_at` on, none of its tokens is accepted. `opt_out_policy` is what
    `core.opt_out_policies` reads, null for the defaults. `numbering` says how its numbers are meant
    where a broadcast does not: `core.numbering` reads it.
    """

    __tablename__ = "clients"

    name: Mapped[str] = mapped_column(unique=True)
    disabled_at: Mapped[int | None] = mapped_column(Moment)
    opt_out_policy: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    numbering: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
