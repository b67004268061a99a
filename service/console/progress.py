"""Progress: how far broadcasts are, in the form that pages show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.console import bars, bubbles
from service.console.access import visitor
from service.console.bars import Part
from service.console.language import gettext as _
from service.core import broadcasts, openings, reports
from service.core.deliveries import gates
from service.database import now_ms
from service.errors import NotFoundError
from service.models import (
    FOREVER,
    Broadcast,
    BroadcastStatus,
    DeliveryStatus,
    Session,
    SessionStatus,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a broadcast.

    `session` is None if it was deleted. `held` is the reason why waiting deliveries do not go out,
    empty if they do; `held_until` is when the hold ends, in milliseconds.
    """

    broadcast: Broadcast
    title: str
    counts: dict[str, int]
    parts: list[Part]
    session: Session | None
    held: str
    held_until: int | None

    @property
    def id(self) -> str:
        """The broadcast's id."""
        return self.broadcast.id

    @property
    def state(self) -> str:
        """The broadcast's state, for people: one that sends to nobody just now is held."""
        return "held" if self.held else self.broadcast.status

    @property
    def is_open(self) -> bool:
        """Whether some recipients are neither reached nor given up."""
        return self.broadcast.closed_at is None

    @property
    def moves(self) -> bool:
        """Whether its numbers change by themselves: a page looks again."""
        return self.is_open and self.broadcast.status != BroadcastStatus.PAUSED

    @property
    def reached(self) -> int:
        """How many people are known to have the message."""
        return self.counts["sent"] + self.counts["delivered"] + self.counts["read"]

    @property
    def waiting(self) -> int:
        """How many people wait for it."""
        return self.counts["pending"] - self.counts["uncertain"]

    @property
    def is_removed(self) -> bool:
        """Whether it was cancelled or deleted: it can be read, and nothing else."""
        return self.broadcast.deleted_at is not None

    @property
    def may_pause(self) -> bool:
        """Whether `core.broadcasts.pause` takes it."""
        return (
            not self.is_removed
            and self.is_open
            and self.broadcast.status == BroadcastStatus.SENDING
        )

    @property
    def may_resume(self) -> bool:
        """Whether `core.broadcasts.resume` takes it."""
        return not self.is_removed and self.broadcast.status == BroadcastStatus.PAUSED

    @property
    def may_cancel(self) -> bool:
        """Whether there is something left to cancel."""
        return not self.is_removed and self.is_open

    def retriable(self, status: DeliveryStatus) -> int:
        """Return how many failed or uncertain people a retry would write to again."""
        if self.session is None or self.is_removed:
            return 0
        return self.counts[status]


def readable(db: Db, broadcast_id: str) -> Broadcast:
    """Return a broadcast to show, even a cancelled or deleted one."""
    try:
        return broadcasts.get(db, visitor().client_id, broadcast_id)
    except NotFoundError:
        return broadcasts.get(db, visitor().client_id, broadcast_id, deleted=True)


def of(db: Db, found: Sequence[Broadcast]) -> dict[str, Progress]:
    """Return how broadcasts fare, by id; their sessions take one look together."""
    wanted = {each.session_id for each in found if each.session_id}
    sessions = {row.id: row for row in db.scalars(select(Session).where(Session.id.in_(wanted)))}
    return {each.id: _progress(db, each, sessions.get(each.session_id or "")) for each in found}


def _progress(db: Db, broadcast: Broadcast, session: Session | None) -> Progress:
    counts = reports.counts(broadcast)
    held, until = _hold(db, broadcast, session)
    return Progress(
        broadcast,
        title(broadcast),
        counts,
        bars.parts(counts, is_held=bool(held) or broadcast.status == BroadcastStatus.PAUSED),
        session,
        held,
        until,
    )


def _hold(db: Db, broadcast: Broadcast, session: Session | None) -> tuple[str, int | None]:
    is_sending = broadcast.status == BroadcastStatus.SENDING and broadcast.closed_at is None
    if not is_sending or session is None:
        return "", None
    if session.status == SessionStatus.READY:
        return _closed(db, broadcast, session)
    return session.reason or _("Its session cannot send at the moment."), session.throttled_until


def _closed(db: Db, broadcast: Broadcast, session: Session) -> tuple[str, int | None]:
    """Return why a broadcast waits for its windows or its limit, and until when; empty: neither."""
    now = now_ms()
    opens_at = openings.opening(broadcast, session, now)
    if opens_at != now:
        return _("It is outside of the hours in which it may be sent."), opens_at
    wait = gates.wait(db, broadcast, session, now=now)
    if wait is None:
        return "", None
    until = None if wait.until == FOREVER else wait.until
    if wait.limit is None:
        return _("It is outside of these hours where its recipients are."), until
    return _("Its session has reached its daily limit."), until


def title(broadcast: Broadcast) -> str:
    """Return the title of a broadcast: the beginning of its text, or the kind of its content."""
    text = bubbles.first_line(str(broadcast.message.get("text") or ""))
    if text:
        return text
    if template := broadcast.message.get("template"):
        return str(template.get("name") or "")
    if location := broadcast.message.get("location"):
        return str(location.get("name") or _("A place"))
    return _("Files") if broadcast.message.get("attachments") else _("A contact")
