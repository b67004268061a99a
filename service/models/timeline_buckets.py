"""Timeline buckets: how the counters of a broadcast changed over time."""

from __future__ import annotations

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


def _moved() -> Mapped[int]:
    return mapped_column(default=0, server_default=text("0"))


class TimelineBucket(Base):
    """The change of each counter of a broadcast in the interval that begins at `start`.

    A delivery that goes from sent to delivered changes both, so the sum of all buckets equals the
    counters.
    """

    __tablename__ = "timeline_buckets"

    broadcast_id: Mapped[str] = mapped_column(
        Id, ForeignKey("broadcasts.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(Moment, primary_key=True, autoincrement=False)
    sent: Mapped[int] = _moved()
    delivered: Mapped[int] = _moved()
    read: Mapped[int] = _moved()
    failed: Mapped[int] = _moved()
    cancelled: Mapped[int] = _moved()
    uncertain: Mapped[int] = _moved()
