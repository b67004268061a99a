"""People: one person's addresses share opt-outs and contacts, and may change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.channels.wa_ids import spellings
from service.channels.webhooks import Move, Person
from service.core import identities, opt_outs
from service.core.deliveries import opted_out
from service.core.deliveries.opted_out import OptOutOwner
from service.core.entries import is_user_id
from service.core.revocations import ClaimKey
from service.models import ClientOptOut, Contact, OptOut, OptOutSource, Session


def learn(db: Db, client_id: str, people: Iterable[Person], *, now: int) -> list[ClaimKey]:
    """Remember which number and user id are one person's; return the claims that are revoked.

    An opt-out under one of the two then counts for the other.
    """
    told = {each.user_id: each.number for each in people if is_user_id(each.user_id)}
    known = identities.numbers(db, client_id, told)
    news = {user_id: number for user_id, number in told.items() if known.get(user_id) != number}
    if not news:
        return []
    opted_out.changing(db)
    identities.put(db, client_id, news, now=now)
    return [
        claim
        for user_id, number in sorted(news.items())
        for claim in _share_opt_outs(db, client_id, (user_id, *spellings(number)), now)
    ]


def move(db: Db, client_id: str, moves: Iterable[Move], *, now: int) -> list[ClaimKey]:
    """Let people have other addresses; return the claims that are revoked.

    Their opt-outs count for the new addresses, too, and their contacts have the new number.
    """
    revoked: list[ClaimKey] = []
    for each in moves:
        before = identities.forms(db, client_id, each.before)
        after = [form for address in each.after for form in _forms(address)]
        number = next((address for address in each.after if not is_user_id(address)), "")
        user_ids = [address for address in (*before, *each.after) if is_user_id(address)]
        if number:
            _change_contacts(db, client_id, before, number, now)
            former = {form: number for form in before if form not in after}
            if former:
                identities.put(db, client_id, former, now=now)
            revoked += learn(db, client_id, (Person(number, known) for known in user_ids), now=now)
        elif old := next((form for form in before if not is_user_id(form)), ""):
            revoked += learn(db, client_id, (Person(old, known) for known in user_ids), now=now)
        revoked += _share_opt_outs(db, client_id, (*before, *after), now)
    return revoked


def _forms(address: str) -> Sequence[str]:
    return [address] if is_user_id(address) else spellings(address)


def _share_opt_outs(db: Db, client_id: str, addresses: Collection[str], now: int) -> list[ClaimKey]:
    """Let an opt-out under one address of a person count for all of them."""
    people = list(addresses)
    of_sessions = (
        select(OptOut.session_id)
        .join(Session, Session.id == OptOut.session_id)
        .where(Session.client_id == client_id, OptOut.recipient.in_(people))
        .distinct()
    )
    of_client = select(ClientOptOut.client_id).where(
        ClientOptOut.client_id == client_id, ClientOptOut.recipient.in_(people)
    )
    owners = [OptOutOwner(client_id, session_id) for session_id in db.scalars(of_sessions)]
    if db.scalar(of_client.limit(1)):
        owners.append(OptOutOwner(client_id))
    return [
        claim
        for whose in owners
        for claim in opt_outs.stop(db, whose, people, OptOutSource.PROVIDER, now=now)
    ]


def _change_contacts(
    db: Db, client_id: str, before: Collection[str], number: str, now: int
) -> None:
    """Put a number in the place of the former one in the contacts that have it."""
    former = {form for form in before if not is_user_id(form)}
    of_client = select(Contact.id, Contact.phones).where(Contact.client_id == client_id)
    for row in db.execute(of_client):
        if former & set(row.phones):
            phones = dict.fromkeys(number if phone in former else phone for phone in row.phones)
            db.execute(
                update(Contact)
                .where(Contact.id == row.id)
                .values(phones=[*phones], updated_at=now, version=Contact.version + 1),
                execution_options={"synchronize_session": False},
            )
