"""Dispatchers: the processes that send."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class Dispatcher(Base):
    """A process that sends. Its id is the claim on the deliveries that it is sending.

    `beats` counts its heartbeats: if the number stays the same for a lease, another process takes
    over. `seen_at` is for display only, so clocks need not agree. With `host` and `pid`, a process
    on the same machine sees at once that this one has died.
    """

    __tablename__ = "dispatchers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    host: Mapped[str] = mapped_column("home")
    pid: Mapped[int]
    beats: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[int] = mapped_column(Moment)
    seen_at: Mapped[int] = mapped_column(Moment)
