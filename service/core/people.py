"""People: one person's addresses share opt-outs and contacts, and may change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import null, select, update
from sqlalchemy.orm import Session as Db

from service.channels.wa_ids import spellings
from service.channels.webhooks import Move, Person
from service.core import identities, opt_outs
from service.core.deliveries import opted_out
from service.core.deliveries.opted_out import OptOutOwner
from service.core.entries import is_user_id
from service.core.revocations import ClaimKey
from service.database import pieces
from service.models import ClientOptOut, Contact, OptOut, OptOutSource, Session


def learn(db: Db, client_id: str, people: Iterable[Person], *, now: int) -> list[ClaimKey]:
    """Store that a number and a user id belong to one person; return the revoked claims.

    An opt-out under one of the two then counts for both.
    """
    told = {each.user_id: each.number for each in people if is_user_id(each.user_id)}
    if not told:
        return []
    known = identities.numbers(db, client_id, told)
    news = {user_id: number for user_id, number in told.items() if known.get(user_id) != number}
    if not news:
        return []
    # A concurrent opt-out either sees the new address or is seen here.
    opted_out.queueing(db)
    identities.put(db, client_id, news, now=now)
    forms = [(user_id, *spellings(number)) for user_id, number in sorted(news.items())]
    return _share_opt_outs(db, client_id, forms, now)


def move(db: Db, client_id: str, moves: Iterable[Move], *, now: int) -> list[ClaimKey]:
    """Change the addresses of people; return the revoked claims.

    Their opt-outs count for the new addresses, too, and their contacts have the new number.
    """
    revoked: list[ClaimKey] = []
    numbers: dict[str, str] = {}
    for each in moves:
        before = identities.forms(db, client_id, each.before)
        after = [form for address in each.after for form in _forms(address)]
        number = next((address for address in each.after if not is_user_id(address)), "")
        user_ids = [address for address in (*before, *each.after) if is_user_id(address)]
        if number:
            moved = {form for form in before if not is_user_id(form)}
            numbers |= {form: number for form, later in numbers.items() if later in moved}
            numbers |= dict.fromkeys(moved, number)
            former = {form: number for form in before if form not in after}
            if former:
                identities.put(db, client_id, former, now=now)
            revoked += learn(db, client_id, (Person(number, known) for known in user_ids), now=now)
        elif old := next((form for form in before if not is_user_id(form)), ""):
            revoked += learn(db, client_id, (Person(old, known) for known in user_ids), now=now)
        revoked += _share_opt_outs(db, client_id, [(*before, *after)], now)
    _change_contacts(db, client_id, numbers, now)
    return revoked


def _forms(address: str) -> Sequence[str]:
    return [address] if is_user_id(address) else spellings(address)


def _share_opt_outs(
    db: Db, client_id: str, people: Iterable[Sequence[str]], now: int
) -> list[ClaimKey]:
    """Extend an opt-out under one address of a person to all addresses of that person."""
    others = {form: forms for forms in people for form in forms}
    shared: dict[OptOutOwner, dict[str, None]] = {}
    for some in pieces(list(others)):
        of_sessions = (
            select(OptOut.session_id, OptOut.recipient)
            .join(Session, Session.id == OptOut.session_id)
            .where(Session.client_id == client_id, OptOut.recipient.in_(some))
        )
        of_client = select(null(), ClientOptOut.recipient).where(
            ClientOptOut.client_id == client_id, ClientOptOut.recipient.in_(some)
        )
        for session_id, recipient in db.execute(of_sessions.union_all(of_client)):
            whose = OptOutOwner(client_id, session_id)
            shared.setdefault(whose, {}).update(dict.fromkeys(others[recipient]))
    return [
        claim
        for whose, forms in shared.items()
        for claim in opt_outs.stop(db, whose, [*forms], OptOutSource.PROVIDER, now=now)
    ]


def _change_contacts(db: Db, client_id: str, numbers: Mapping[str, str], now: int) -> None:
    """Replace former numbers by new ones in contacts."""
    if not numbers:
        return
    of_client = select(Contact.id, Contact.phones).where(Contact.client_id == client_id)
    for row in db.execute(of_client).all():
        if not numbers.keys().isdisjoint(row.phones):
            phones = dict.fromkeys(numbers.get(phone, phone) for phone in row.phones)
            db.execute(
                update(Contact)
                .where(Contact.id == row.id)
                .values(phones=[*phones], updated_at=now, version=Contact.version + 1),
                execution_options={"synchronize_session": False},
            )
