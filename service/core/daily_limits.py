"""Daily limits: how many different people sessions write to in any 24 hours.

A person counts from the claim of a delivery, for a little more than 24 hours: a claimed message may
leave some time later, and the clocks of machines differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    TextClause,
    bindparam,
    case,
    delete,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Db

from service.database import insert_new, is_postgres, pieces
from service.models import CountedRecipient, LimitGroup, Session

DAY: Final = 24 * 3_600_000 + 300_000
"""Milliseconds for which somebody counts: five minutes more than 24 hours."""

LEAVES_WITHIN: Final = 120_000
"""Milliseconds after its claim in which a message has to leave; after that it is claimed again."""


class DailyLimit(NamedTuple):
    """The most people that the sessions of a group may write to before this session stops."""

    client_id: str
    group: str
    most: int


def of(session: Session) -> DailyLimit | None:
    """Return the daily limit of a session, if it has one."""
    if session.daily_limit is None:
        return None
    return DailyLimit(session.client_id, session.limit_group or session.id, session.daily_limit)


class CountedRecipients:
    """The people who count in a limit group at one time. The row of the group is locked."""

    def __init__(self, db: Db, group_id: str, count: int, now: int) -> None:
        self._db = db
        self._group_id = group_id
        self._now = now
        self.count = count

    def known(self, people: Sequence[str]) -> set[str]:
        """Return which of some people count already."""
        mine = select(CountedRecipient.recipient).where(self._is_ours())
        return {
            recipient
            for some in pieces(people)
            for recipient in self._db.scalars(mine.where(CountedRecipient.recipient.in_(some)))
        }

    def admit(self, people: Sequence[str], most: int) -> set[str]:
        """Count people until the limit is reached; return those who may be written to."""
        known = self.known(people)
        new = [each for each in dict.fromkeys(people) if each not in known]
        new = new[: max(0, most - self.count)]
        admitted = [*known, *new]
        self._write(admitted)
        self._add(len(new))
        return set(admitted)

    def freed(self, most: int) -> list[int]:
        """Return when the limit has room for each of the next `most` people.

        Call it only if the limit has no room now.
        """
        moments = select(CountedRecipient.counted_at).where(self._is_ours())
        ordered = moments.order_by(CountedRecipient.counted_at).offset(self.count - most)
        return [moment + DAY for moment in self._db.scalars(ordered)]

    def expire(self) -> None:
        """Forget who does not count any longer."""
        over = delete(CountedRecipient).where(
            self._is_ours(), CountedRecipient.counted_at <= self._now - DAY
        )
        self._add(-self._db.execute(over).rowcount)  # type: ignore[attr-defined]

    def _is_ours(self) -> ColumnElement[bool]:
        return CountedRecipient.limit_group_id == self._group_id

    def _write(self, people: Iterable[str]) -> None:
        dialect = postgresql if is_postgres(self._db) else sqlite
        common = {"limit_group_id": self._group_id, "counted_at": self._now, "is_single": True}
        rows = [{"recipient": each, **common} for each in sorted(people)]
        inserting = dialect.insert(CountedRecipient)
        counted_at, newer = CountedRecipient.counted_at, inserting.excluded.counted_at
        upsert = inserting.on_conflict_do_update(
            index_elements=["limit_group_id", "recipient"],
            set_={
                "counted_at": case((counted_at > newer, counted_at), else_=newer),
                "is_single": False,
            },
        )
        if rows:
            self._db.execute(upsert, rows)

    def _add(self, number: int) -> None:
        if number:
            self.count += number
            mine = update(LimitGroup).where(LimitGroup.id == self._group_id)
            self._db.execute(mine.values(counted=LimitGroup.counted + number))


def is_reached(db: Db, limit: DailyLimit, *, now: int) -> bool:
    """Return whether a limit has no room for another person."""
    return len(counted_at(db, limit, now=now)) >= limit.most


def counted_at(db: Db, limit: DailyLimit, *, now: int) -> Sequence[int]:
    """Return when the people in the group of a limit began to count, in order."""
    moment = CountedRecipient.counted_at
    return db.scalars(_counting(limit, now).with_only_columns(moment).order_by(moment)).all()


def recipients(db: Db, limit: DailyLimit, *, now: int) -> set[str]:
    """Return who counts in the group of a limit."""
    return set(db.scalars(_counting(limit, now).with_only_columns(CountedRecipient.recipient)))


def _counting(limit: DailyLimit, now: int) -> Select[Any]:
    group = select(LimitGroup.id).where(
        LimitGroup.client_id == limit.client_id, LimitGroup.name == limit.group
    )
    return select(CountedRecipient).where(
        CountedRecipient.limit_group_id == group.scalar_subquery(),
        CountedRecipient.counted_at > now - DAY,
    )


Key = tuple[str, str]


def lock(db: Db, limits: Collection[DailyLimit], *, now: int) -> dict[Key, CountedRecipients]:
    """Lock the groups of these limits; return who counts in them, by client and name."""
    keys = sorted({limit[:2] for limit in limits})
    found = _lock(db, keys) if keys else {}
    if missing := [key for key in keys if key not in found]:
        names = ("client_id", "name")
        insert_new(db, LimitGroup, [dict(zip(names, key, strict=True)) for key in missing])
        found = _lock(db, keys)
    counted = {key: CountedRecipients(db, *row, now) for key, row in found.items()}
    for each in counted.values():
        each.expire()
    return counted


def forget(db: Db, *, now: int) -> None:
    """Delete people who no longer count, including those in groups that send nothing now."""
    over = select(CountedRecipient.limit_group_id).where(CountedRecipient.counted_at <= now - DAY)
    groups = select(LimitGroup).where(LimitGroup.id.in_(over))
    lock(db, [DailyLimit(row.client_id, row.name, 0) for row in db.scalars(groups)], now=now)


def _lock(db: Db, keys: Sequence[Key]) -> dict[Key, tuple[str, int]]:
    place = tuple_(LimitGroup.client_id, LimitGroup.name)
    rows = select(LimitGroup).where(place.in_(keys)).order_by(LimitGroup.id).with_for_update()
    found = db.scalars(rows.execution_options(populate_existing=True))
    return {(row.client_id, row.name): (row.id, row.counted) for row in found}


_COUNTED_FOR = """
    FROM deliveries AS d JOIN broadcasts AS b ON b.id = d.broadcast_id
    JOIN sessions AS s ON s.id = b.session_id AND s.daily_limit IS NOT NULL
    JOIN limit_groups AS g ON g.client_id = s.client_id AND g.name = COALESCE(s.limit_group, s.id)
    WHERE d.id IN :ids"""
_GROUPS = f"SELECT id FROM limit_groups WHERE id IN (SELECT g.id {_COUNTED_FOR}) ORDER BY id"  # noqa: S608 - the words are ours
_GIVE_BACK = f"""
    DELETE FROM counted_recipients
    WHERE is_single AND (limit_group_id, recipient, counted_at) IN (
        SELECT g.id, d.recipient, CAST(:claimed_at AS bigint) {_COUNTED_FOR})
    RETURNING limit_group_id"""  # noqa: S608 - as above


def give_back(db: Db, claimed: Iterable[tuple[str, int]]) -> None:
    """Uncount people who count only because of these claims, of which no message was sent."""
    by_claim: dict[int, list[str]] = {}
    for delivery_id, claimed_at in claimed:
        by_claim.setdefault(claimed_at, []).append(delivery_id)
    for claimed_at, ids in by_claim.items():
        for some in pieces(ids):
            _give_back(db, claimed_at, list(some))


def _give_back(db: Db, claimed_at: int, ids: list[str]) -> None:
    values = {"claimed_at": claimed_at, "ids": ids}
    lock = " FOR UPDATE" if is_postgres(db) else ""
    # A claim locks the group first, too.
    if not db.scalars(_of_ids(_GROUPS + lock), {"ids": ids}).all():
        return
    freed = Counter(db.scalars(_of_ids(_GIVE_BACK), values))
    for group_id, number in freed.items():
        mine = update(LimitGroup).where(LimitGroup.id == group_id)
        db.execute(mine.values(counted=LimitGroup.counted - number))


@cache
def _of_ids(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("ids", expanding=True))
