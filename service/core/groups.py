"""Groups: named lists of contacts.

`rosters` says how the contacts of a group that has no rule are stored.

On Postgres, whoever writes members locks their contacts first, then groups, then members: deleting
a contact locks it and then its members.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Select, func, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm.attributes import flag_modified

from service.core import contacts, owned, paging, rosters, rules, usages
from service.database import changed, now_ms, pieces
from service.errors import ConflictError, InvalidError, NotFoundError
from service.models import Contact, Group, GroupMember

MOST_CONTACTS = 100_000
"""The most contacts in a group: one request carries all of them, and each is looked up."""

SHOWN = 1_000
"""The most members of a group with a rule that are told with it."""

_CHANGING = "Another request is changing this group. Try again."

T = TypeVar("T")


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
    return paging.fetch(db, _visible(client_id), Group.id, request)


def check(db: Db, group: Group, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a change of a group changes; raises InvalidError, StaleVersionError."""
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

    Contacts end a rule, and a rule the contacts. So many contacts of a `roster` are `written`.
    Raises NotFoundError, InvalidError, ConflictError, StaleVersionError.
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
    _touch(group)
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
    """Write a piece of a roster that is not in force yet, after so many contacts.

    Raises InvalidError, ConflictError.
    """
    kept = known(db, group.client_id, contacts, keeps=True)
    _insert(db, group.id, _begun(db, group.id, roster, written) + written, kept)


def take_out(db: Db, group: Group, contact_id: str) -> None:
    """Take a contact out of a group that has no rule."""
    contacts.held(db, group.client_id, [contact_id])
    _locked(db, group.client_id, [group.id])
    mine = (rosters.of(group.id), GroupMember.contact_id == contact_id)
    if changed(db, sql_delete(GroupMember).where(*mine)):
        _touch(group)
        db.flush()


def members(db: Db, group: Group) -> Sequence[str]:
    """Return the ids of a group's contacts, in order; the first 1,000 where it has a rule."""
    rule, found = _listed(db, group.id, GroupMember.contact_id)
    if rule:
        matching = rules.matching(db, group.client_id, rule).with_only_columns(Contact.id)
        return db.scalars(matching.limit(SHOWN)).all()
    return found


def contacts_page(db: Db, group: Group, request: paging.PageRequest) -> paging.Page[Contact]:
    """Return one page of a group's contacts, in order; of one with a rule the oldest first."""
    if group.rule:
        inside = rules.matching(db, group.client_id, group.rule).order_by(None)
        return paging.fetch(db, inside, Contact.id, request)
    return contacts.listed(db, rosters.of(group.id), request)


def sizes(db: Db, groups: Iterable[Group]) -> dict[str, int]:
    """Return how many contacts each of these groups has, by its id."""
    by_rule, by_hand = {}, []
    for group in groups:
        if group.rule:
            by_rule[group.id] = rules.count(db, group.client_id, group.rule)
        else:
            by_hand.append(group.id)
    inside = rosters.in_force() & Group.id.in_(by_hand)
    counting = select(GroupMember.group_id, func.count()).where(inside)
    counted = {row[0]: row[1] for row in db.execute(counting.group_by(GroupMember.group_id))}
    return by_rule | {group_id: counted.get(group_id, 0) for group_id in by_hand}


def of_contacts(db: Db, contact_ids: Sequence[str]) -> dict[str, str]:
    """Return the group of each contact, by contact; the oldest if it is in several."""
    oldest = select(GroupMember.contact_id, func.min(GroupMember.group_id))
    mine = oldest.where(GroupMember.contact_id.in_(contact_ids), rosters.in_force())
    mine = mine.group_by(GroupMember.contact_id)
    return {row[0]: row[1] for row in db.execute(mine)}


def move(db: Db, contact: Contact, group_id: str) -> None:
    """Move a contact from its group (see `of_contacts`) to the end of another.

    Raises InvalidError if the client has no such group, NotFoundError if the contact was deleted.
    """
    if not contacts.held(db, contact.client_id, [contact.id]):
        raise NotFoundError("contact", contact.id)
    former = of_contacts(db, [contact.id]).get(contact.id)
    if former == group_id:
        return
    groups = _locked(db, contact.client_id, {group_id, former or group_id})
    if group_id not in groups:
        reason = f"You have no group {group_id[:64]!r}."
        raise InvalidError(errors={"group_id": [reason]})
    if groups[group_id].rule:
        reason = (
            f"The group {groups[group_id].name!r} has a rule: give the contact what it asks for."
        )
        raise InvalidError(errors={"group_id": [reason]})
    for group in groups.values():
        _touch(group)
    db.flush()
    mine = GroupMember.contact_id == contact.id
    listed = or_(*map(rosters.of, groups))
    db.execute(sql_delete(GroupMember).where(mine, listed))
    last = db.scalar(select(func.max(GroupMember.position)).where(rosters.of(group_id)))
    rosters.write(db, group_id, (last or groups[group_id].roster) + 1, [contact.id])


def _locked(db: Db, client_id: str, group_ids: Iterable[str]) -> dict[str, Group]:
    """Lock groups until this transaction ends; return them by id."""
    wanted = _visible(client_id).where(Group.id.in_(group_ids)).order_by(Group.id)
    locked = db.scalars(wanted.with_for_update().execution_options(populate_existing=True))
    return {group.id: group for group in locked}


def phones(db: Db, client_id: str, group_id: str, *, within: str | None = None) -> list[str]:
    """Return the phone of each contact in a group to send to, in order.

    Those of a group with a rule are whoever matches it now. Raises NotFoundError when the client
    has no such group; `within` a session there is none, as groups belong to no session.
    """
    if within is not None:
        raise NotFoundError("group", group_id)
    rule, found = _listed(db, get(db, client_id, group_id).id, Contact.phones)
    if rule:
        matching = rules.matching(db, client_id, rule).with_only_columns(Contact.phones)
        found = db.scalars(matching).all()
    return [contacts.reached_by(numbers) for numbers in found if numbers]


def _listed(
    db: Db, group_id: str, column: InstrumentedAttribute[T]
) -> tuple[Mapping[str, Any] | None, Sequence[T]]:
    """Return a group's rule, and this column of each of its listed contacts, in order.

    One statement reads both: between two, contacts may replace the rule, or a rule the contacts.
    """
    of_contact = GroupMember.contact_id == Contact.id
    listed = select(Group.rule, column).where(Group.id == group_id).select_from(Group)
    listed = listed.outerjoin(GroupMember, rosters.in_force()).outerjoin(Contact, of_contact)
    rows = db.execute(listed.order_by(GroupMember.position)).all()
    return (rows[0][0] if rows else None), [row[1] for row in rows if row[1] is not None]


def _check_rule(db: Db, client_id: str, fields: Mapping[str, Any]) -> None:
    """Raise InvalidError for a rule beside contacts, and for one that matches nobody."""
    rule = fields.get("rule")
    if rule and fields.get("contacts"):
        raise InvalidError(errors={"rule": ["A group has either `contacts` or a `rule`."]})
    if rule:
        rules.check(db, client_id, rule)


def _touch(group: Group) -> None:
    """Increase the version when only members change: they are in another table."""
    group.updated_at = now_ms()
    flag_modified(group, "updated_at")


def _visible(client_id: str) -> Select[Group]:
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
    """Write the last piece of a group's roster, after so many contacts; count them all."""
    _insert(db, group.id, group.roster + written, contacts)
    usages.note(db, group.client_id, members=written + len(contacts))


def _begun(db: Db, group_id: str, roster: int, written: int) -> int:
    """Return a roster of which so many contacts are written; raises ConflictError."""
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
