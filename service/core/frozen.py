"""The frozen recipients of a broadcast: fixed when it is accepted, whatever happens afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from random import SystemRandom
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session as Db

from service.core import variables
from service.core.deliveries import invalid
from service.core.recipient_lists import Recipients
from service.core.variables import Variables
from service.models import Broadcast, Delivery, RecipientChunk

_CHANCE: Final = SystemRandom()


def keep(db: Db, broadcast: Broadcast, people: Recipients, chunk: int) -> None:
    """Store the recipients of a broadcast in chunks for the fan-out, those of its sample first."""
    total = len(people.unique)
    sample = min(broadcast.sample or 0, total)
    if 0 < sample < total:
        people = people.sampled(sample, _CHANCE)
    brought = people.variables
    texts = brought.texts if brought and brought.counts else ()
    starts = [*range(0, sample, chunk), *range(sample, total, chunk)]
    rows = [
        {
            "broadcast_id": broadcast.id,
            "start": start,
            "session_id": broadcast.session_id or "",
            "recipients": ",".join(people.unique[start:end]),
            "variables": "\n".join(texts[start:end]) or None,
        }
        for start, end in zip(starts, [*starts[1:], total], strict=True)
    ]
    if rows:
        db.execute(insert(RecipientChunk), rows)


def size(people: Recipients) -> int:
    """Return the bytes that recipients and their variables take."""
    brought = people.variables.size if people.variables else 0
    return sum(map(len, people.unique)) + len(people.unique) + brought


def read(db: Db, broadcast_id: str) -> Recipients:
    """Return the recipients of a broadcast with their variables."""
    brought = Variables()
    unique = []
    for recipient, text in (*_fanned_out(db, broadcast_id), *waiting(db, broadcast_id)):
        values = variables.load(text)
        brought.see(values)
        brought.add(values)
        unique.append(recipient)
    return Recipients(tuple(unique), count=len(unique), variables=brought)


def _fanned_out(db: Db, broadcast_id: str) -> Iterator[tuple[str, str | None]]:
    rows = select(Delivery.recipient, Delivery.variables).where(
        Delivery.broadcast_id == broadcast_id, Delivery.code.is_distinct_from(invalid.CODE)
    )
    for row in db.execute(rows.order_by(Delivery.id)):
        yield row.recipient, row.variables


def waiting(db: Db, broadcast_id: str) -> Iterator[tuple[str, str | None]]:
    """Yield the recipients who have no delivery yet, with their variables as JSON."""
    chunks = select(RecipientChunk).where(RecipientChunk.broadcast_id == broadcast_id)
    for chunk in db.scalars(chunks.order_by(RecipientChunk.start)):
        recipients = chunk.recipients.split(",")
        texts = chunk.variables.split("\n") if chunk.variables else [None] * len(recipients)
        yield from zip(recipients, texts, strict=True)
