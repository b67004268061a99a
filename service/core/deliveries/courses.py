"""Courses: the ways of a delivery, and how it moves from one to the next.

A delivery that has moved has a row in each of its ways. The row of step 0 has the result of the
broadcast's own session. The delivery's own row then has the overall status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Row

from service import ids
from service.core.deliveries import verdicts
from service.core.deliveries.due_ways import Step, read_steps
from service.core.deliveries.events import Event
from service.core.deliveries.obstacles import NamedRecipient, Obstacles
from service.core.deliveries.verdicts import NextStep, Verdict, Way
from service.models import BroadcastStatus, DeliveryStatus, EventKind

STOPPED: Final = "reached_otherwise"
"""The code of a way that was stopped, as another one reached the recipient."""

_OF_ATTEMPT: Final = (
    *("attempts", "message_ids", "code", "reason", "pricing"),
    *("sent_at", "delivered_at", "read_at"),
)
_OF_RECIPIENT: Final = ("recipient", "variables")
_COPIED: Final = (*_OF_RECIPIENT, *_OF_ATTEMPT, "progress")


class Ways(NamedTuple):
    """The row of a broadcast and the rows of its ways, in the order of their steps."""

    broadcast: Row[Any]
    ways: Sequence[Row[Any]]

    def step_after(self, number: int) -> Step | None:
        """Return the step after the way with this number, None if there is none."""
        steps = read_steps(self.broadcast.fallback)
        return steps[number] if number < len(steps) else None

    def is_over(self, now: int) -> bool:
        """Return whether nothing more may be sent."""
        row = self.broadcast
        is_gone = row.status == BroadcastStatus.CANCELLED or row.deleted_at is not None
        return is_gone or row.expires_at <= now


@dataclass(slots=True)
class Course:
    """A delivery and its rows in the ways that it has taken, as dicts of columns.

    `former` has the stored rows.
    """

    family: Ways
    delivery: dict[str, Any]
    rows: list[dict[str, Any]]
    obstacles: Obstacles
    now: int
    former: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember how the rows are stored."""
        self.former = {each["id"]: {**each} for each in (self.delivery, *self.rows)}

    def run(self) -> Verdict:
        """Move the delivery along its ways as far as possible now; return the last verdict."""
        while True:
            verdict = verdicts.judge(self._ways(), self._following(), now=self.now)
            if not verdict.goes_on:
                break
            self._go_on()
        if verdict.stops:
            reason = "Another way has reached this person."
            stopped = {"status": DeliveryStatus.CANCELLED, "code": STOPPED, "reason": reason}
            self.rows[-1] |= {**stopped, "updated_at": self.now}
        self._settle(verdict)
        return verdict

    def was(self, row: dict[str, Any]) -> str | None:
        """Return the status that a row has in the database, None if it is new."""
        status: str | None = self.former.get(row["id"], {}).get("status")
        return status

    def changed(self) -> list[dict[str, Any]]:
        """Return the rows that differ from the stored ones."""
        return [each for each in (self.delivery, *self.rows) if each != self.former.get(each["id"])]

    def has_moved(self) -> bool:
        """Return whether the overall status of the delivery has changed."""
        return bool(self.was(self.delivery) != self.delivery["status"])

    def _ways(self) -> list[Way]:
        if not self.rows:
            # A delivery that was passed on because of its status has failed.
            status = self.delivery["status"].replace(DeliveryStatus.FALLBACK, DeliveryStatus.FAILED)
            return [Way(DeliveryStatus(status), _since(self.delivery))]
        return [Way(DeliveryStatus(row["status"]), _since(row)) for row in self.rows]

    def _following(self) -> NextStep:
        broadcast, recipient = self.family.broadcast, self.delivery["recipient"]
        if self.family.is_over(self.now) or self.obstacles.forbid_all(
            broadcast.client_id, recipient
        ):
            return NextStep(None)
        step = self.family.step_after(self._number())
        return NextStep(step, is_paused=broadcast.status == BroadcastStatus.PAUSED)

    def _number(self) -> int:
        """Return the step of the last way."""
        return self._way(self.rows[-1]).step if self.rows else 0

    def _way(self, row: dict[str, Any]) -> Row[Any]:
        return next(way for way in self.family.ways if way.id == row["broadcast_id"])

    def _go_on(self) -> None:
        """Leave the last way, and enter the next one."""
        number = self._number()
        step = self.family.step_after(number)
        if not self.rows:
            self._begin()
        left = self.rows[-1]
        if left["status"] != DeliveryStatus.FAILED:
            minutes = step.minutes if step else 0
            reason = f"No receipt said within {minutes} minutes that this was delivered."
            left |= {"code": verdicts.UNDELIVERED, "reason": reason, "updated_at": self.now}
            left["status"] = DeliveryStatus.FAILED
        told = (self.delivery["id"], self.now, EventKind.PASSED_ON, number + 1)
        self.events.append(Event(*told, left["code"], left["reason"]))
        self.rows.append(self._entered(self.family.ways[number + 1]))

    def _begin(self) -> None:
        """Copy the result of the broadcast's own session to a row of step 0."""
        first = {name: self.delivery[name] for name in (*_COPIED, "updated_at")}
        status = self._ways()[0].status
        self.rows.append(self._row(self.family.ways[0], status) | first)

    def _entered(self, way: Row[Any]) -> dict[str, Any]:
        new = self._row(way, DeliveryStatus.QUEUED)
        new |= {name: self.delivery[name] for name in _OF_RECIPIENT}
        broadcast = self.family.broadcast
        whom = NamedRecipient(broadcast.client_id, broadcast.id, new["recipient"])
        new["recipient"] = self.obstacles.address(way, whom)
        if obstacle := self.obstacles.of(way, new["recipient"]):
            new |= {"status": DeliveryStatus.FAILED, **obstacle._asdict()}
        return new

    def _row(self, way: Row[Any], status: DeliveryStatus) -> dict[str, Any]:
        """Return the columns of an untouched delivery of a way."""
        return {
            "id": ids.moved(self.delivery["id"], way.id),
            "broadcast_id": way.id,
            "status": status,
            "due_at": self.now,
            "updated_at": self.now,
            **dict.fromkeys(_COPIED),
            "attempts": 0,
        }

    def _settle(self, verdict: Verdict) -> None:
        """Set the overall status of the delivery."""
        if not self.rows:
            if self.delivery["status"] == DeliveryStatus.FALLBACK:
                self._tell(status=verdict.status)
            return
        by = self.rows[verdict.by]
        told = {name: by[name] for name in _OF_ATTEMPT}
        if verdict.status == DeliveryStatus.FALLBACK and verdict.by > 0:
            before = self.rows[verdict.by - 1]
            told |= {"code": before["code"], "reason": before["reason"]}
        elif verdict.status in _WELL:
            told |= {"code": None, "reason": None}
        self._tell(**told, status=verdict.status)

    def _tell(self, **told: Any) -> None:
        """Set columns of the delivery's own row, and `updated_at` if any of them changes."""
        if any(self.delivery[name] != value for name, value in told.items()):
            self.delivery |= {**told, "updated_at": self.now}


def _since(row: dict[str, Any]) -> int:
    """Return since when a row has its status: later receipts on a sent one change nothing."""
    is_sent = row["status"] == DeliveryStatus.SENT and row["sent_at"]
    return int(row["sent_at"] if is_sent else row["updated_at"])


_WELL: Final = {DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ}
