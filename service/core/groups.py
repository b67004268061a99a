"""Groups: named lists of contacts.

`members` reads who is in a group; `rosters` stores the contacts of a group without a rule. On
Postgres, code that writes members locks their contacts first, then groups, then members, because
deleting a contact locks the contact and then its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm.attributes import flag_modified

from service.core import contacts, owned, paging, rosters, rules, usages
from service.database import now_ms, pieces
from service.errors import ConflictError, InvalidError, NotFoundError
from service.models import Group

MOST_CONTACTS = 100_000
"""The most contacts in a group: one request carries all of them, and each is looked up."""

_CHANGING = "Another request is changing this group. Try again."


def create(db: Db, client_id: str, fields: Mapping[str, Any]) -> Group:
    """Create a group from `name`, `is_default` and `contacts` (ids) or a `rule`.

    Raises InvalidError, ConflictError.
    """
    contacts = known(db, client_id, fields.get("contacts") or [], keeps=True)
    group = _new(db, client_id, fields, roster=0)
    _fill(db, group, contacts)
    return group


def draft(db: Db, client_id: str, fields: Mapping[str, Any]) -> Group:
    """Create a group that nobody sees before `publish`; raises InvalidError, ConflictError."""
    return _new(db, client_id, fields, roster=rosters.HIDDEN)


def publish(db: Db, group_id: str, roster: int, last: Sequence[str], *, written: int) -> Group:
    """Make a draft visible with the last piece of its roster.

    Raises InvalidError, ConflictError.
    """
    _refuse_late(roster)
    # The write below counts the version: a group is seen first at version 0.
    db.execute(sql_update(Group).where(Group.id == group_id).values(version=-1))
    group = db.get_one(Group, group_id)
    last = known(db, group.client_id, last, keeps=True)
    group.roster = roster
    db.flush()
    _fill(db, group, last, written)
    return group


def _new(db: Db, client_id: str, fields: Mapping[str, Any], *, roster: int) -> Group:
    _check_rule(db, client_id, fields)
    is_default, rule = fields.get("is_default", False), fields.get("rule")
    group = Group(
        client_id=client_id, name=fields["name"], is_default=is_default, rule=rule, roster=roster
    )
    db.add(group)
    _flush(db, group)
    return group


def get(db: Db, client_id: str, group_id: str) -> Group:
    """Return a client's group; raises NotFoundError."""
    group = owned.get(db, Group, client_id, group_id)
    if group.roster == rosters.HIDDEN:
        raise NotFoundError("group", group_id)
    return group


def page(db: Db, client_id: str, request: paging.PageRequest) -> paging.Page[Group]:
    """Return one page of a client's groups."""
    return paging.fetch(db, visible(client_id), Group.id, request)


def check(db: Db, group: Group, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Check a change of a group and return its effect; raises InvalidError, StaleVersionError."""
    owned.check_version(group, fields)
    kept = {"contacts"} if group.rule and fields.get("rule") == group.rule else set()
    fields = {name: fields[name] for name in fields if name not in kept}
    _check_rule(db, group.client_id, fields)
    return fields


class Change(NamedTuple):
    """A group as it is now, and the roster that is to be cleared if it was replaced."""

    group: Group
    former: int | None


def update(  # noqa: PLR0913 - two of them say what of a long roster is written
    db: Db,
    client_id: str,
    group_id: str,
    fields: Mapping[str, Any],
    *,
    roster: int | None = None,
    written: int = 0,
) -> Change:
    """Change a group's name, its contacts or its rule; a given `version` must be current.

    New contacts replace a rule, and a new rule replaces the contacts. `written` counts the contacts
    of the `roster` that are stored already. Raises NotFoundError, InvalidError, ConflictError,
    StaleVersionError.
    """
    group = get(db, client_id, group_id)
    fields = check(db, group, fields)
    contacts = [] if fields.get("rule") else fields.get("contacts")
    # Do this before the name is set: autoflush here would hit a taken name with a bare error.
    kept = None if contacts is None else known(db, client_id, contacts, keeps=True)
    roster = None if kept is None else _begun(db, group_id, roster or rosters.new(), written)
    group.name = fields.get("name", group.name)
    group.is_default = fields.get("is_default", group.is_default)
    if contacts is not None or "rule" in fields:
        group.rule = fields.get("rule")
    if kept is None or roster is None:
        _flush(db, group)
        return Change(group, None)
    former, group.roster = group.roster, roster
    touch(group)
    _flush(db, group)
    _fill(db, group, kept, written)
    return Change(group, former)


def hide(db: Db, client_id: str, group_id: str) -> Group:
    """Hide a group, which `rosters.remove` then deletes; raises NotFoundError.

    Its name is free at once.
    """
    group = get(db, client_id, group_id)
    group.roster, group.name = rosters.HIDDEN, group.id
    db.flush()
    return group


def write(db: Db, group: Group, roster: int, written: int, contacts: Sequence[str]) -> None:
    """Write a piece of a roster that is not in force yet, after the given number of contacts.

    Raises InvalidError, ConflictError.
    """
    kept = known(db, group.client_id, contacts, keeps=True)
    _insert(db, group.id, _begun(db, group.id, roster, written) + written, kept)


def _check_rule(db: Db, client_id: str, fields: Mapping[str, Any]) -> None:
    """Raise InvalidError for a rule beside contacts, and for one that matches nobody."""
    rule = fields.get("rule")
    if rule and fields.get("contacts"):
        raise InvalidError(errors={"rule": ["A group has either `contacts` or a `rule`."]})
    if rule:
        rules.check(db, client_id, rule)


def touch(group: Group) -> None:
    """Increase a group's version when only its members change: they are in another table."""
    group.updated_at = now_ms()
    flag_modified(group, "updated_at")


def visible(client_id: str) -> Select[Group]:
    """Return the query for a client's groups, without those that are made or deleted now."""
    return owned.mine(Group, client_id).where(Group.roster > rosters.HIDDEN)


def known(db: Db, client_id: str, wanted: Sequence[str], *, keeps: bool = False) -> list[str]:
    """Return unique contact ids; raises InvalidError for unknown ones.

    With `keeps`, none of the contacts is deleted before this transaction ends.
    """
    unique = list(dict.fromkeys(wanted))
    if len(unique) > MOST_CONTACTS:
        raise InvalidError(errors={"contacts": [f"A group has at most {MOST_CONTACTS} contacts."]})
    read = contacts.held if keeps else contacts.found
    found = {
        contact_id for some in pieces(sorted(unique)) for contact_id in read(db, client_id, some)
    }
    errors = {
        f"contacts.{position}": [f"You have no contact {contact_id[:64]!r}."]
        for position, contact_id in enumerate(wanted)
        if contact_id not in found
    }
    if errors:
        raise InvalidError(errors=errors)
    return unique


def _fill(db: Db, group: Group, contacts: Sequence[str], written: int = 0) -> None:
    """Write the last piece of a group's roster; count all its contacts as used."""
    _insert(db, group.id, group.roster + written, contacts)
    usages.note(db, group.client_id, members=written + len(contacts))


def _begun(db: Db, group_id: str, roster: int, written: int) -> int:
    """Return a roster that may be written; raises ConflictError if it is taken or too old."""
    if not written and not rosters.take(db, group_id, roster):
        raise ConflictError(_CHANGING)
    _refuse_late(roster)
    return roster


def _refuse_late(roster: int) -> None:
    if rosters.is_late(roster, now=now_ms()):
        raise ConflictError("Storing the contacts of this group took too long. Try again.")


def _insert(db: Db, group_id: str, first: int, contacts: Sequence[str]) -> None:
    try:
        rosters.write(db, group_id, first, contacts)
    except IntegrityError as error:
        raise ConflictError(_CHANGING) from error


def _flush(db: Db, group: Group) -> None:
    """Write the group; the database checks whether the name is taken."""
    sentence = f"You already have a group named {group.name!r}."
    try:
        db.flush()
    except IntegrityError as error:
        raise ConflictError(sentence, errors={"name": [sentence]}) from error
