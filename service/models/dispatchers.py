"""Dispatchers: the processes that send."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class Dispatcher(Base):
    """A process that sends; its id is the claim on the deliveries it is sending.

    `beats` counts its heartbeats: whoever sees the number stand still for a lease takes over.
    `seen_at` is for people, no decision is taken on it, so that clocks need not agree. `host` and
    `pid` let a process of the same machine see at once that this one is gone.
    """

    __tablename__ = "dispatchers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    host: Mapped[str] = mapped_column("home")
    pid: Mapped[int]
    beats: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[int] = mapped_column(Moment)
    seen_at: Mapped[int] = mapped_column(Moment)
