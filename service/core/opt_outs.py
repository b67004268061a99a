"""Opt-outs: recipients who want no more messages from a session, or from a client.

`OptOutOwner` names the session; without a `session_id` it names all sessions of the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, exists, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session as Db

from service.core import (
    audit,
    entries,
    identities,
    numbers,
    outbox,
    paging,
    revocations,
    sessions,
    usages,
)
from service.core.deliveries import opted_out
from service.core.deliveries.opted_out import OptOutOwner
from service.core.recipient_lists import Recipients
from service.core.revocations import ClaimKey
from service.database import insert_new, now_ms, pieces
from service.errors import InvalidError, NotFoundError
from service.models import ClientOptOut, EventType, OptOut, OptOutSource, Session

EXPORTED: Final = 1_000
"""Opt-outs in a page of an export."""

Row = OptOut | ClientOptOut


class _Place(NamedTuple):
    """Where the opt-outs of a session, or a client, are kept: the table and the owner in it."""

    table: Any
    owner: Any
    owner_id: str

    def mine(self) -> Select[Any]:
        return select(self.table).where(self.owner == self.owner_id)

    def key(self, recipient: str) -> tuple[str, str]:
        return self.owner_id, recipient


def _place(whose: OptOutOwner) -> _Place:
    if whose.session_id is None:
        return _Place(ClientOptOut, ClientOptOut.client_id, whose.client_id)
    return _Place(OptOut, OptOut.session_id, whose.session_id)


def owner(db: Db, client_id: str, session_id: str | None) -> OptOutOwner:
    """Return the owner of the opt-outs: the client or its session; raises NotFoundError."""
    if session_id is not None:
        sessions.get(db, client_id, session_id)
    return OptOutOwner(client_id, session_id)


def page(
    db: Db, whose: OptOutOwner, request: paging.PageRequest, *, recipients: Sequence[str] = ()
) -> paging.Page[Row]:
    """Return one page of opt-outs, oldest first, of all recipients or of some."""
    place = _place(whose)
    mine = place.mine().order_by(request.order(place.table.created_at))
    if recipients:
        mine = mine.where(place.table.recipient.in_(recipients))
    return paging.fetch(db, mine, place.table.recipient, request)


def add(db: Db, whose: OptOutOwner, written: str, *, now: int) -> tuple[Row, list[ClaimKey]]:
    """Add an opt-out; an existing one keeps its date. Return it and the revoked claims.

    Waiting deliveries to the recipient fail too, including scheduled ones. Answer the request only
    when no process can send under the revoked claims any more: `Dispatcher.await_end`.

    Raises InvalidError unless it is a number or a WhatsApp group.
    """
    recipient = entries.read_one(written)
    if recipient is None:
        raise InvalidError(errors={"recipient": [f"{written[:40]!r} {numbers.reason(written)}."]})
    audit.describe(audit.mask(recipient))
    people = identities.forms(db, whose.client_id, [recipient])
    revoked = stop(db, whose, people, OptOutSource.MANUAL, now=now)
    usages.note(db, whose.client_id, opt_outs=1)
    place = _place(whose)
    return db.get_one(place.table, place.key(recipient)), revoked


def stop(
    db: Db, whose: OptOutOwner, people: Sequence[str], source: OptOutSource, *, now: int
) -> list[ClaimKey]:
    """Add opt-outs and fail waiting deliveries; return the revoked claims."""
    opted_out.changing(db)
    remember(db, whose, people, source, now=now)
    return enforce(db, whose, people, now=now)


def enforce(db: Db, whose: OptOutOwner, people: Sequence[str], *, now: int) -> list[ClaimKey]:
    """Fail the waiting deliveries to opted-out recipients; return the revoked claims."""
    opted_out.changing(db)
    revoked: list[ClaimKey] = []
    for some in pieces(people):
        opted_out.leave_out(db, whose, some, now=now)
        revoked += revocations.revoke(db, whose, some)
    return revoked


def remember(
    db: Db, whose: OptOutOwner, people: Sequence[str], source: OptOutSource, *, now: int
) -> None:
    """Store opt-outs, without a change to waiting deliveries."""
    place = _place(whose)
    common = {place.owner.key: place.owner_id, "created_at": now, "source": source}
    for some in pieces(people):
        with _telling(db, whose, some, now=now):
            insert_new(db, place.table, [{**common, "recipient": each} for each in some])


def forget(db: Db, whose: OptOutOwner, people: Sequence[str], *, until: int | None = None) -> None:
    """Remove opt-outs of some recipients, except those newer than `until`."""
    place = _place(whose)
    old = [] if until is None else [place.table.created_at <= until]
    for some in pieces(people):
        gone = sql_delete(place.table).where(
            place.owner == place.owner_id, place.table.recipient.in_(some), *old
        )
        with _telling(db, whose, some, now=now_ms()):
            db.execute(gone, execution_options=_UNSEEN)


_UNSEEN = {"synchronize_session": False}


def delete(db: Db, whose: OptOutOwner, written: str) -> Row:
    """Remove an opt-out; raises NotFoundError."""
    recipient, place = entries.read_one(written), _place(whose)
    found: Row | None = db.get(place.table, place.key(recipient)) if recipient else None
    if found is None:
        raise NotFoundError("opt-out", written)
    audit.describe(audit.mask(found.recipient))
    with _telling(db, whose, [found.recipient], now=now_ms()):
        db.delete(found)
        db.flush()
    return found


@contextmanager
def _telling(db: Db, whose: OptOutOwner, people: Sequence[str], *, now: int) -> Iterator[None]:
    """Post events for recipients whose opt-outs change within the block."""
    client_id = whose.client_id or _client_of(db, whose)
    if not outbox.wanted(db, client_id, EventType.OPT_OUT_CHANGED):
        yield
        return
    before = _those_in(db, whose, people)
    yield
    after = _those_in(db, whose, people)
    for changed, is_out in ((after - before, True), (before - after, False)):
        if changed:
            data = {
                "session_id": whose.session_id,
                "recipients": sorted(changed),
                "opted_out": is_out,
            }
            kind, subject = EventType.OPT_OUT_CHANGED, whose.session_id or client_id
            outbox.emit(db, client_id, kind, subject, data, sequence=now, now=now)


def _client_of(db: Db, whose: OptOutOwner) -> str:
    return db.scalar(select(Session.client_id).where(Session.id == whose.session_id)) or ""


def _those_in(db: Db, whose: OptOutOwner, people: Sequence[str]) -> set[str]:
    """Return which recipients are among these opt-outs."""
    place = _place(whose)
    mine = select(place.table.recipient).where(place.owner == place.owner_id)
    return set(db.scalars(mine.where(place.table.recipient.in_(people))))


def among(db: Db, whose: OptOutOwner, people: Iterable[str]) -> set[str]:
    """Return which recipients opted out of a session, or of its client."""
    places = {_place(whose), _place(OptOutOwner(whose.client_id))}
    return {
        recipient
        for some in pieces(list(people))
        for place in places
        for recipient in db.scalars(
            select(place.table.recipient).where(
                place.owner == place.owner_id, place.table.recipient.in_(some)
            )
        )
    }


class Imported(NamedTuple):
    """The result of an import, and the claims that it revoked."""

    added: int
    known: int
    revoked: list[ClaimKey]


def bring(db: Db, whose: OptOutOwner, people: Recipients, *, now: int) -> Imported:
    """Add opt-outs for all these recipients; raises InvalidError, which names every bad entry."""
    faults = {f"recipients.{bad.position}": [f"{bad.entry!r} {bad.reason}."] for bad in people.bad}
    if not people.unique:
        faults = faults or {"recipients": ["Names nobody: give at least one recipient."]}
    if faults:
        raise InvalidError(errors=faults)
    before = _count(db, whose)
    revoked = stop(db, whose, people.unique, OptOutSource.IMPORT, now=now)
    added = _count(db, whose) - before
    usages.note(db, whose.client_id, opt_outs=added)
    return Imported(added, len(people.unique) - added, revoked)


def _count(db: Db, whose: OptOutOwner) -> int:
    return paging.count(db, _place(whose).mine())


class Exported(NamedTuple):
    """An opt-out as it is written into a file; without `session_id` it is the whole client's."""

    recipient: str
    session_id: str | None
    created_at: int
    source: str | None


def export(
    db: Db, after: Exported | None, *, client_id: str, within: str | None = None
) -> list[Exported]:
    """Return the opt-outs `after` one, None: the first ones; the last page is below `EXPORTED`.

    The client's own come first, then those of each session; or only those of one session. Each
    group is in stored order, by recipient, so every page takes equally long.
    """
    found: list[Exported] = []
    for whose in _exporting(db, client_id, after, within):
        last = after.recipient if after and after.session_id == whose.session_id else ""
        found += _exported(db, whose, last, EXPORTED - len(found))
        if len(found) == EXPORTED:
            break
    return found


def _exporting(
    db: Db, client_id: str, after: Exported | None, within: str | None
) -> Iterator[OptOutOwner]:
    """Yield the owners in an export from a given one on: the client, then each session."""
    if within is not None:
        yield OptOutOwner(client_id, within)
        return
    begun = (after and after.session_id) or ""
    if not begun:
        yield OptOutOwner(client_id)
    mine = select(Session.id).where(Session.client_id == client_id, Session.id >= begun)
    have_some = mine.where(exists().where(OptOut.session_id == Session.id))
    for session_id in db.scalars(have_some.order_by(Session.id)):
        yield OptOutOwner(client_id, session_id)


def _exported(db: Db, whose: OptOutOwner, last: str, limit: int) -> Iterator[Exported]:
    place = _place(whose)
    wanted = place.mine().where(place.table.recipient > last).order_by(place.table.recipient)
    for row in db.scalars(wanted.limit(limit)):
        yield Exported(row.recipient, whose.session_id, row.created_at, row.source)
