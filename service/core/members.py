"""Members: the contacts of a group, listed or selected by its rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.orm import Session as Db

from service.core import contacts, groups, paging, rosters, rules
from service.database import changed
from service.errors import InvalidError, NotFoundError
from service.models import Contact, Group, GroupMember

SHOWN = 1_000
"""The most members of a group with a rule that are told with it."""

T = TypeVar("T")


def take_out(db: Db, group: Group, contact_id: str) -> None:
    """Take a contact out of a group that has no rule."""
    contacts.held(db, group.client_id, [contact_id])
    _locked(db, group.client_id, [group.id])
    mine = (rosters.of(group.id), GroupMember.contact_id == contact_id)
    if changed(db, delete(GroupMember).where(*mine)):
        groups.touch(group)
        db.flush()


def read(db: Db, group: Group) -> Sequence[str]:
    """Return the ids of a group's contacts, in order; the first 1,000 if it has a rule."""
    rule, found = _listed(db, group.id, GroupMember.contact_id)
    if rule:
        matching = rules.matching(db, group.client_id, rule).with_only_columns(Contact.id)
        return db.scalars(matching.limit(SHOWN)).all()
    return found


def page(db: Db, group: Group, request: paging.PageRequest) -> paging.Page[Contact]:
    """Return one page of a group's contacts, in order; oldest first if it has a rule."""
    if group.rule:
        inside = rules.matching(db, group.client_id, group.rule).order_by(None)
        return paging.fetch(db, inside, Contact.id, request)
    return contacts.listed(db, rosters.of(group.id), request)


def sizes(db: Db, wanted: Iterable[Group]) -> dict[str, int]:
    """Return how many contacts each of these groups has, by its id."""
    by_rule, by_hand = {}, []
    for group in wanted:
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
    both = _locked(db, contact.client_id, {group_id, former or group_id})
    if group_id not in both:
        reason = f"You have no group {group_id[:64]!r}."
        raise InvalidError(errors={"group_id": [reason]})
    if both[group_id].rule:
        name = both[group_id].name
        reason = f"The group {name!r} has a rule: give the contact what it asks for."
        raise InvalidError(errors={"group_id": [reason]})
    for group in both.values():
        groups.touch(group)
    db.flush()
    mine = GroupMember.contact_id == contact.id
    listed = or_(*map(rosters.of, both))
    db.execute(delete(GroupMember).where(mine, listed))
    last = db.scalar(select(func.max(GroupMember.position)).where(rosters.of(group_id)))
    rosters.write(db, group_id, (last or both[group_id].roster) + 1, [contact.id])


def _locked(db: Db, client_id: str, group_ids: Iterable[str]) -> dict[str, Group]:
    """Lock groups until this transaction ends; return them by id."""
    wanted = groups.visible(client_id).where(Group.id.in_(group_ids)).order_by(Group.id)
    locked = db.scalars(wanted.with_for_update().execution_options(populate_existing=True))
    return {group.id: group for group in locked}


def phones(db: Db, client_id: str, group_id: str, *, within: str | None = None) -> list[str]:
    """Return the phone of each contact in a group to send to, in order.

    A group with a rule has the contacts that match it now. Raises NotFoundError if the client has
    no such group, and always `within` a session, because groups belong to no session.
    """
    if within is not None:
        raise NotFoundError("group", group_id)
    rule, found = _listed(db, groups.get(db, client_id, group_id).id, Contact.phones)
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
