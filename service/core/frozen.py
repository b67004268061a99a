"""The frozen recipients of a broadcast: fixed when it is accepted, whatever happens afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import insert, select
from sqlalchemy.orm import Session as Db

from service.core import variables
from service.core.recipients import Recipients
from service.core.variables import Variables
from service.models import Delivery, RecipientChunk


def keep(db: Db, broadcast_id: str, people: Recipients, chunk: int) -> None:
    """Store whom a broadcast reaches, in chunks of so many, for the fan-out."""
    brought = people.variables
    texts = brought.texts if brought and brought.counts else ()
    rows = [
        {
            "broadcast_id": broadcast_id,
            "start": start,
            "recipients": ",".join(people.unique[start : start + chunk]),
            "variables": "\n".join(texts[start : start + chunk]) or None,
        }
        for start in range(0, len(people.unique), chunk)
    ]
    if rows:
        db.execute(insert(RecipientChunk), rows)


def read(db: Db, broadcast_id: str) -> Recipients:
    """Return whom a broadcast reaches, with the variables that each has brought."""
    brought = Variables()
    unique = []
    for recipient, text in (*_fanned_out(db, broadcast_id), *_left(db, broadcast_id)):
        values = variables.load(text)
        brought.see(values)
        brought.add(values)
        unique.append(recipient)
    return Recipients(tuple(unique), count=len(unique), variables=brought)


def _fanned_out(db: Db, broadcast_id: str) -> Iterator[tuple[str, str | None]]:
    rows = select(Delivery.recipient, Delivery.variables).where(
        Delivery.broadcast_id == broadcast_id
    )
    for row in db.execute(rows.order_by(Delivery.id)):
        yield row.recipient, row.variables


def _left(db: Db, broadcast_id: str) -> Iterator[tuple[str, str | None]]:
    chunks = select(RecipientChunk).where(RecipientChunk.broadcast_id == broadcast_id)
    for chunk in db.scalars(chunks.order_by(RecipientChunk.start)):
        recipients = chunk.recipients.split(",")
        texts = chunk.variables.split("\n") if chunk.variables else [None] * len(recipients)
        yield from zip(recipients, texts, strict=True)
