"""Clients, the tenants of the service, and their tokens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Moment, Object


class Client(Object, Base):
    """A tenant, which owns all other objects.

    From `disabled_at` on, its tokens are refused. `core.opt_out_policies` reads `opt_out_policy`;
    null: the defaults. `numbering` is the numbering plan of broadcasts that set no other:
    `core.numbering` reads it. `limits` has those that differ from the settings: `core.limits` reads
    them.
    """

    __tablename__ = "clients"

    name: Mapped[str] = mapped_column(unique=True)
    disabled_at: Mapped[int | None] = mapped_column(Moment)
    opt_out_policy: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    numbering: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    limits: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
