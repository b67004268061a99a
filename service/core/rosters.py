"""Rosters: the contacts of a group that is kept by hand, in order.

A roster is a range of positions. A long one is written in pieces beside the one that is in force,
each in a short transaction, so that others can write between them. The last transaction puts it in
force by one number in the group's row. So readers see the whole list or the former one, and a crash
leaves rows that nobody reads: `forget` deletes them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    and_,
    delete,
    exists,
    insert,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import Session as Db

from service.database import changed, now_ms
from service.models import Group, GroupMember

PIECE: Final = 2_000
"""The most rows that one transaction writes or deletes: SQLite takes some 50 ms for them."""

HIDDEN: Final = -1
"""The roster of a group that is not made completely, or is being deleted."""

_WIDTH: Final = 1 << 24
"""Positions of a roster: a group gets at most 100,000 contacts at once, and then one after another.
Its number, of 39 bits, is the minute of Unix time when it began, and 13 bits by chance."""

_CHANCE: Final = 1 << 13

_ABANDONED: Final = 3_600_000
"""Milliseconds after which nobody writes a roster any more."""

_LATE: Final = _ABANDONED // 2
"""Milliseconds after which a roster is not put in force: the clocks of two machines differ."""


def in_force() -> ColumnElement[bool]:
    """Return the condition for the members that a group has now, of a group that is visible."""
    return and_(
        GroupMember.group_id == Group.id,
        Group.roster > HIDDEN,
        GroupMember.position >= Group.roster,
        GroupMember.position < Group.roster + _WIDTH,
    )


def of(group_id: str) -> ColumnElement[bool]:
    """Return the condition for the members that a group has when the statement is executed.

    The statement reads itself which roster is in force. One that was read before it may have been
    replaced and cleared since.
    """
    visible = (Group.id == group_id, Group.roster > HIDDEN)
    return _within(group_id, select(Group.roster).where(*visible).correlate(None).scalar_subquery())


def new() -> int:
    """Return a number for a new roster, which `take` then makes the writer's own."""
    return (_minute(now_ms()) * _CHANCE + secrets.randbelow(_CHANCE)) * _WIDTH


def take(db: Db, group_id: str, roster: int) -> bool:
    """Lock a group until this transaction ends; return whether it may write this new roster.

    Another request may have drawn the same number, and still be writing or undoing it.
    """
    if _locked(db, group_id) in {roster, None}:
        return False
    return not _has_rows(db, _within(group_id, roster))


def is_late(roster: int, *, now: int) -> bool:
    """Return whether a roster began so long ago that `forget` may soon delete its rows."""
    return roster < _first_of(now - _LATE)


def write(db: Db, group_id: str, first: int, contact_ids: Sequence[str]) -> None:
    """Write a piece of a roster: these contacts from this position on."""
    rows = [
        {"group_id": group_id, "position": position, "contact_id": contact_id}
        for position, contact_id in enumerate(contact_ids, first)
    ]
    if rows:
        db.execute(insert(GroupMember), rows)


def clear(db: Db, group_id: str, roster: int) -> bool:
    """Delete a piece of a roster; return whether there is more. A roster in force stays.

    It may be in force although its writer failed: the answer to a commit can get lost. The lock
    waits for a commit that has not ended yet.
    """
    if _locked(db, group_id) in {roster, None}:
        return False
    mine = _within(group_id, roster)
    _delete(db, mine)
    # Look before the lock is released: then nobody has taken the same number.
    return _has_rows(db, mine)


def remove(db: Db, group_id: str) -> bool:
    """Delete a piece of a group if it is hidden, in the end its row; return whether there is more.

    A draft may be visible although its writer failed, as a roster may be in force (`clear`).
    """
    if _locked(db, group_id) != HIDDEN:
        return False
    if _delete(db, GroupMember.group_id == group_id):
        return True
    hidden = delete(Group).where(Group.id == group_id, Group.roster == HIDDEN)
    db.execute(hidden.execution_options(synchronize_session=False))
    return False


def abandoned(db: Db, *, now: int) -> Sequence[str]:
    """Return the hidden groups that a crash has left."""
    old = Group.created_at < now - _ABANDONED
    return db.scalars(select(Group.id).where(Group.roster == HIDDEN, old)).all()


def forget(db: Db, *, now: int) -> bool:
    """Delete a piece of all that a crash has left of rosters; return whether there is more."""
    outside = or_(
        GroupMember.position < Group.roster, GroupMember.position >= Group.roster + _WIDTH
    )
    return _delete(
        db,
        GroupMember.group_id == Group.id,
        Group.roster > HIDDEN,
        outside,
        GroupMember.position < _first_of(now - _ABANDONED),
    )


def _minute(moment: int) -> int:
    return moment // 60_000


def _first_of(moment: int) -> int:
    """Return the first roster that may have begun in the minute of a moment."""
    return _minute(moment) * _CHANCE * _WIDTH


def _locked(db: Db, group_id: str) -> int | None:
    """Lock a group until this transaction ends; return its roster, None if it is deleted."""
    wanted = select(Group.roster).where(Group.id == group_id)
    return db.scalar(wanted.with_for_update(key_share=True))


def _has_rows(db: Db, condition: ColumnElement[bool]) -> bool:
    return bool(db.scalar(select(exists().where(condition))))


def _within(group_id: str, roster: int | ScalarSelect[int]) -> ColumnElement[bool]:
    return and_(
        GroupMember.group_id == group_id,
        GroupMember.position >= roster,
        GroupMember.position < roster + _WIDTH,
    )


def _delete(db: Db, *conditions: ColumnElement[bool]) -> bool:
    key = tuple_(GroupMember.group_id, GroupMember.position)
    some = select(GroupMember.group_id, GroupMember.position).where(*conditions).limit(PIECE)
    return changed(db, delete(GroupMember).where(key.in_(some))) == PIECE
