"""Identities: the several addresses of one person, who may hide the number behind a user id.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Db

from service.channels.wa_ids import spellings
from service.database import is_postgres, pieces
from service.models import Identity


def numbers(db: Db, client_id: str, user_ids: Collection[str]) -> dict[str, str]:
    """Return the known numbers of user ids."""
    wanted = list(user_ids)
    found: dict[str, str] = {}
    for some in pieces(wanted):
        mine = select(Identity.user_id, Identity.number).where(
            Identity.client_id == client_id, Identity.user_id.in_(some)
        )
        found |= {row.user_id: row.number for row in db.execute(mine)}
    return found


def forms(db: Db, client_id: str, addresses: Collection[str]) -> list[str]:
    """Return all addresses of the people who have one of these."""
    either = or_(Identity.user_id.in_(addresses), Identity.number.in_(addresses))
    mine = select(Identity.user_id, Identity.number).where(Identity.client_id == client_id, either)
    known = [form for row in db.execute(mine) for form in (row.user_id, *spellings(row.number))]
    return [*dict.fromkeys([*addresses, *known])]


def people(db: Db, client_id: str, addresses: Collection[str]) -> dict[str, list[str]]:
    """Return, for each of some addresses, all addresses of the person who has it."""
    groups: dict[str, dict[str, None]] = {}
    for some in pieces(list(addresses)):
        either = or_(Identity.user_id.in_(some), Identity.number.in_(some))
        mine = select(Identity.user_id, Identity.number).where(
            Identity.client_id == client_id, either
        )
        for row in db.execute(mine):
            group = groups.setdefault(row.number, dict.fromkeys(spellings(row.number)))
            group[row.user_id] = None
    known = {form: group for group in groups.values() for form in group}
    return {each: [*dict.fromkeys([each, *known.get(each, ())])] for each in addresses}


def put(db: Db, client_id: str, news: Mapping[str, str], *, now: int) -> None:
    """Store the numbers of user ids."""
    dialect = postgresql if is_postgres(db) else sqlite
    insert = dialect.insert(Identity)
    rows = [
        {"client_id": client_id, "user_id": user_id, "number": number, "updated_at": now}
        for user_id, number in sorted(news.items())
    ]
    changed = {"number": insert.excluded.number, "updated_at": now}
    for some in pieces(rows):
        db.execute(
            insert.values(some).on_conflict_do_update(
                index_elements=["client_id", "user_id"], set_=changed
            )
        )
