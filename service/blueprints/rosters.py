"""Groups with many contacts, written in several transactions for the API and the console.

The last transaction makes what was written visible. It is the one that the audit log notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from service.blueprints.context import crier
from service.core import audit, groups, rosters

T = TypeVar("T")


def create(client_id: str, fields: Mapping[str, Any]) -> str:
    """Create a group; return its id. Raises what `groups.create` raises."""
    database = crier().database
    with database.reading() as db:
        contacts = groups.known(db, client_id, fields.get("contacts") or [])
    if len(contacts) <= rosters.PIECE:
        with database.writing() as db:
            return groups.create(db, client_id, {**fields, "contacts": contacts}).id
    group_id = _take(groups.draft, client_id, fields).id
    roster = rosters.new()
    with _undone(rosters.remove, group_id):
        written = _write(client_id, group_id, roster, contacts)
        with database.writing() as db:
            groups.publish(db, group_id, roster, contacts[written:], written=written)
    return group_id


def update(client_id: str, group_id: str, fields: Mapping[str, Any]) -> None:
    """Change a group. Raises what `groups.update` raises."""
    database = crier().database
    with database.reading() as db:
        fields = groups.check(db, client_id, group_id, fields)
        contacts = groups.known(db, client_id, fields.get("contacts") or [])
    roster = rosters.new()
    written = _write(client_id, group_id, roster, contacts)
    if "contacts" in fields:
        fields["contacts"] = contacts[written:]
    undone = _undone(rosters.clear, group_id, roster) if written else nullcontext()
    with undone, database.writing() as db:
        former = groups.get(db, client_id, group_id).roster
        now = groups.update(db, client_id, group_id, fields, roster=roster, written=written)
        is_replaced = now.roster != former
    if is_replaced:
        _repeat(rosters.clear, group_id, former)


def delete(client_id: str, group_id: str) -> None:
    """Delete a group but not its contacts; raises NotFoundError."""
    with crier().database.writing() as db:
        groups.hide(db, client_id, group_id)
    _repeat(rosters.remove, group_id)


def _write(client_id: str, group_id: str, roster: int, contacts: Sequence[str]) -> int:
    """Write all pieces but the last; return how many contacts they have."""
    written = (len(contacts) - 1) // rosters.PIECE * rosters.PIECE if contacts else 0
    for start in range(0, written, rosters.PIECE):
        piece = contacts[start : start + rosters.PIECE]
        # The first row makes the roster ours; without it there is nothing to undo.
        undone = _undone(rosters.clear, group_id, roster) if start else nullcontext()
        with undone:
            _take(groups.write, client_id, group_id, roster + start, piece)
    return written


@contextmanager
def _undone(undo: Callable[..., bool], *values: Any) -> Iterator[None]:
    """Delete what was written if the block fails."""
    try:
        yield
    except BaseException:
        _repeat(undo, *values)
        raise


def _repeat(step: Callable[..., bool], *values: Any) -> None:
    """Take a step in transactions of its own until there is no more to do."""
    while _take(step, *values):
        pass


def _take(step: Callable[..., T], *values: Any) -> T:
    """Take a step in a transaction that is no action of its own."""
    with audit.doing(None), crier().database.writing() as db:
        return step(db, *values)
