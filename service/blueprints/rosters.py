"""Groups with many contacts, written in several transactions for the API and the console.

The last transaction makes the contacts visible, and the audit log records only that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from service.blueprints.context import crier
from service.core import audit, groups, rosters
from service.models import Group

T = TypeVar("T")


def create(client_id: str, fields: Mapping[str, Any]) -> Group:
    """Create a group. Raises what `groups.create` raises."""
    database = crier().database
    with database.reading() as db:
        contacts = groups.known(db, client_id, fields.get("contacts") or [])
    if len(contacts) <= rosters.PIECE:
        with database.writing() as db:
            return groups.create(db, client_id, {**fields, "contacts": contacts})
    group = _take(groups.draft, client_id, fields)
    roster = rosters.new()
    with _undone(rosters.remove, group.id):
        written = _write(group, roster, contacts)
        with database.writing() as db:
            return groups.publish(db, group.id, roster, contacts[written:], written=written)


def update(group: Group, fields: Mapping[str, Any]) -> Group:
    """Change a group read before; return its new state. Raises what `groups.update` raises."""
    database, client_id, group_id = crier().database, group.client_id, group.id
    with database.reading() as db:
        fields = groups.check(db, group, fields)
        contacts = groups.known(db, client_id, fields.get("contacts") or [])
    roster = rosters.new()
    written = _write(group, roster, contacts)
    if "contacts" in fields:
        fields["contacts"] = contacts[written:]
    undone = _undone(rosters.clear, group_id, roster) if written else nullcontext()
    with undone, database.writing() as db:
        change = groups.update(db, client_id, group_id, fields, roster=roster, written=written)
    if change.former is not None:
        _repeat(rosters.clear, group_id, change.former)
    return change.group


def delete(client_id: str, group_id: str) -> None:
    """Delete a group but not its contacts; raises NotFoundError."""
    with crier().database.writing() as db:
        groups.hide(db, client_id, group_id)
    _repeat(rosters.remove, group_id)


def _write(group: Group, roster: int, contacts: Sequence[str]) -> int:
    """Write all pieces except the last; return how many contacts they contain."""
    written = (len(contacts) - 1) // rosters.PIECE * rosters.PIECE if contacts else 0
    for start in range(0, written, rosters.PIECE):
        piece = contacts[start : start + rosters.PIECE]
        # The first piece makes the roster ours; without it there is nothing to undo.
        undone = _undone(rosters.clear, group.id, roster) if start else nullcontext()
        with undone:
            _take(groups.write, group, roster, start, piece)
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
    """Repeat a step, each time in its own transaction, until nothing is left to do."""
    while _take(step, *values):
        pass


def _take(step: Callable[..., T], *values: Any) -> T:
    """Run a step in a transaction that the audit log does not record."""
    with audit.doing(None), crier().database.writing() as db:
        return step(db, *values)
