"""Reach: the recipients that the entries of `to` stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session as Db

from service.channels.base import Driver
from service.channels.wa_ids import spellings
from service.core import (
    entries,
    faults,
    identities,
    lost_zeros,
    members,
    numbers,
    recipients,
)
from service.core.numbering import INTERNATIONAL
from service.core.recipient_lists import Recipients
from service.core.variables import MOST_BYTES
from service.errors import InvalidError, NotFoundError
from service.models import SendType

_MOST_TOLD: Final = 1_000
"""The most entries of one kind that an error names."""

_OVERLAP: Final = 2
"""The contacts of groups that are looked up for each recipient that is allowed."""

_MOST_GROUPS: Final = 1_000
"""The most groups that a broadcast may name: each one is looked up."""


def find(  # noqa: PLR0913 - two of them say whose, one for whom, two by what
    db: Db,
    client_id: str,
    people: Recipients,
    driver: Driver | None,
    *,
    within: str | None,
    most: int,
    skipping: bool = False,
) -> Recipients:
    """Return the unique recipients of a request; raises InvalidError for every bad entry.

    `skipping`: bad entries are not an error, up to a limit.
    """
    name = people.source.field
    if people.count > most:
        reason = f"Must have at most {most} entries (MAX_RECIPIENTS)."
        raise InvalidError(errors={name: [reason]})
    if people.bad and not (skipping and people.unique and people.bad_count == len(people.bad)):
        raise InvalidError(errors=_bad_entries(people))
    if people.variables and people.variables.size > MOST_BYTES:
        reason = f"Has more than {MOST_BYTES:,} bytes of variables. Send several broadcasts."
        raise InvalidError(errors={name: [reason]})
    if people.send_type == SendType.GROUP:
        people = _members(db, client_id, people, driver, within=within, most=most)
    elif max(people.unique, default="")[:1].isalpha():
        people = _known(db, client_id, people, driver)
    if not people.unique:
        raise InvalidError(errors={name: ["Must name at least one recipient."]})
    if (count := len(people.unique)) > most:
        reason = f"Has {count} recipients. At most {most} are allowed"
        raise InvalidError(errors={name: [f"{reason} (MAX_RECIPIENTS)."]})
    return people


def _known(db: Db, client_id: str, people: Recipients, driver: Driver | None) -> Recipients:
    """Replace user ids by the people's numbers, if known.

    A person named by both is one recipient. Raises InvalidError if the channel takes no user ids.
    """
    user_ids = [*filter(entries.is_user_id, people.unique)]
    if driver and not driver.reaches_user_ids:
        places = people.places()
        reason = f"The channel {driver.name} takes numbers only, no WhatsApp user ids."
        raise InvalidError(
            errors={
                f"{people.source.field}.{places[each]}": [reason] for each in user_ids[:_MOST_TOLD]
            }
        )
    known = identities.numbers(db, client_id, user_ids)
    there = set(people.unique)
    reached: dict[str, int] = {}
    for place, entry in enumerate(people.unique):
        number = known.get(entry)
        forms = spellings(number) if number else ()
        reached.setdefault(next(filter(there.__contains__, forms), number or entry), place)
    kept = [*reached.values()]
    rows = [people.rows[at] for at in kept] if people.rows else ()
    brought = people.variables and people.variables.chosen(kept)
    return replace(people, unique=tuple(reached), rows=rows, variables=brought)


def refuse_lost_zeros(people: Recipients) -> None:
    """Raise InvalidError for a list that looks like national numbers without their zeros."""
    if people.send_type == SendType.GROUP or people.numbering != INTERNATIONAL:
        return
    regions = lost_zeros.suspect(people.written())
    if regions:
        found = numbers.countries(people.unique)
        counted = ", ".join(f"{region}: {count}" for region, count in list(found.items())[:5])
        reason = (
            f"These look like national numbers of {' or '.join(regions[:5])} that have lost their"
            f" zero. Read as international ones, they are in {len(found)} countries ({counted})."
            f' Set "default_region" to "{regions[0]}", or "confirm_countries" to true if the'
            " countries are right."
        )
        raise InvalidError(errors={"confirm_countries": [reason]})


def _bad_entries(people: Recipients) -> dict[str, Any]:
    name, place = people.source
    wrong: dict[str, Any] = {}
    for bad in people.bad[: recipients.MOST_BAD]:
        said = f"{place(bad.position)}{bad.entry!r} {bad.reason}."
        wrong.setdefault(f"{name}.{bad.position}", []).append(said)
    if people.bad_count == len(people.bad):
        return wrong
    reason = (
        f"More than {len(people.bad):,} entries are not valid. These are the first ones; entries"
        f" after number {people.count:,} were not checked."
    )
    return {name: [reason]} | wrong


def _members(  # noqa: PLR0913 - as `find`
    db: Db,
    client_id: str,
    people: Recipients,
    driver: Driver | None,
    *,
    within: str | None,
    most: int,
) -> Recipients:
    """Replace contact groups with their members; keep WhatsApp groups.

    All members of a group get its variables. Raises InvalidError for unknown groups, for WhatsApp
    groups that the channel cannot reach, and at once when there are too many members.
    """
    if len(people.unique) > _MOST_GROUPS:
        raise InvalidError(errors={"to": [f"Names more than {_MOST_GROUPS} groups."]})
    looked_at = 0
    reached: dict[str, int] = {}
    wrong: dict[str, list[str]] = {}
    for place, entry in enumerate(people.unique):
        if not entries.is_whatsapp_group(entry):
            phones = faults.noted(wrong, _phones, db, client_id, entry, within) or ()
            looked_at += len(phones)
            for phone in phones:
                reached.setdefault(phone, place)
            if len(reached) > most or looked_at > _OVERLAP * most:
                raise InvalidError(errors={"to": [_too_many(len(reached), looked_at, most)]})
        elif driver and not driver.reaches_groups:
            reason = f"{entry!r}: the channel {driver.name} does not reach WhatsApp groups."
            wrong[entry] = [reason]
        else:
            reached[entry] = place
    if wrong:
        places = people.places()
        raise InvalidError(errors={f"to.{places[each]}": wrong[each] for each in wrong})
    brought = people.variables and people.variables.chosen([*reached.values()])
    return replace(people, unique=tuple(reached), rows=(), variables=brought)


def _too_many(reached: int, looked_at: int, most: int) -> str:
    if reached > most:
        return f"Has more than {most} recipients. At most {most} are allowed (MAX_RECIPIENTS)."
    return (
        f"The first of these groups have {looked_at} contacts, most of them several times. At most"
        f" {_OVERLAP * most} are looked up: name fewer groups that overlap."
    )


def _phones(db: Db, client_id: str, group_id: str, within: str | None) -> Sequence[str]:
    """Return the phones of a group's contacts; raises InvalidError under the group's id."""
    try:
        return members.phones(db, client_id, group_id, within=within)
    except NotFoundError as error:
        raise InvalidError(errors={group_id: [error.message]}) from error
