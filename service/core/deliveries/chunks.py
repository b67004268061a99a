"""Chunks: turns the frozen recipients of a broadcast into deliveries (fan-out)."""

from __future__ import annotations

import json

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core.deliveries import opted_out
from service.database import is_postgres, rowcount

# The recipients go from the frozen chunk to their rows inside the database, never through this
# process.
_MAY_GO = """start < coalesce(
    (SELECT sample FROM broadcasts WHERE id = recipient_chunks.broadcast_id), start + 1)"""
"""The condition on a chunk: while a broadcast goes to a sample, the other recipients wait."""

_FAN_OUT_POSTGRES = text(f"""
    WITH chunk AS (
        DELETE FROM recipient_chunks WHERE (broadcast_id, start) = (
            SELECT broadcast_id, start FROM recipient_chunks
            WHERE broadcast_id = :broadcast_id AND {_MAY_GO}
            ORDER BY start LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING start, recipients, variables)
    INSERT INTO deliveries
        (id, broadcast_id, recipient, status, attempts, due_at, updated_at, variables)
    SELECT :head || lpad(to_hex(start + place), 6, '0'), :broadcast_id, recipient,
           'queued', 0, :now, :now, v
    FROM chunk, unnest(string_to_array(recipients, ','), string_to_array(variables, E'\\n', ''))
        WITH ORDINALITY AS r(recipient, v, place)
""")  # noqa: S608 - the condition is ours
_NEXT_CHUNK = text(f"""
    SELECT start, recipients, variables FROM recipient_chunks
    WHERE broadcast_id = :broadcast_id AND {_MAY_GO} ORDER BY start LIMIT 1
""")  # noqa: S608 - the condition is ours
_WAITING = text(f"""
    SELECT broadcast_id FROM recipient_chunks
    WHERE broadcast_id > :after AND {_MAY_GO} ORDER BY broadcast_id LIMIT 1
""")  # noqa: S608 - the condition is ours
_FAN_OUT_SQLITE = text("""
    INSERT INTO deliveries (id, broadcast_id, recipient, status, attempts, due_at, updated_at)
    SELECT :head || printf('%06x', :start + key + 1), :broadcast_id, value, 'queued', 0, :now, :now
    FROM json_each('["' || replace(:recipients, ',', '","') || '"]')
""")
_FAN_OUT_VARIABLES_SQLITE = text("""
    INSERT INTO deliveries
        (id, broadcast_id, recipient, status, attempts, due_at, updated_at, variables)
    SELECT :head || printf('%06x', :start + key + 1), :broadcast_id, json_extract(value, '$[0]'),
           'queued', 0, :now, :now, nullif(json_extract(value, '$[1]'), '')
    FROM json_each(:rows)
""")
_DROP_CHUNK = text("""
    DELETE FROM recipient_chunks WHERE broadcast_id = :broadcast_id AND start = :start
""")


# The commit need not wait for the disk: a crash that loses the rows restores the chunk. The claim
# of such a row waits for the disk, and with it for all earlier commits.
_IN_THE_BACKGROUND = text("SET LOCAL synchronous_commit = off")


def waiting(db: Db, after: str) -> str | None:
    """Return the next broadcast with recipients to fan out, in the order of ids after one."""
    found: str | None = db.scalar(_WAITING, {"after": after})
    return found


def fan_out(db: Db, broadcast_id: str, *, now: int) -> int:
    """Turn the next chunk of a broadcast into deliveries; return how many.

    Deliveries to people who opted out of the session's or the client's messages fail at once.
    """
    opted_out.queueing(db)
    made = _make_rows(db, broadcast_id, now)
    opted_out.suppress_new(db, broadcast_id, now=now)
    return made


def _make_rows(db: Db, broadcast_id: str, now: int) -> int:
    values = {"broadcast_id": broadcast_id, "head": broadcast_id[:18], "now": now}
    if is_postgres(db):
        db.execute(_IN_THE_BACKGROUND)
        return rowcount(db, _FAN_OUT_POSTGRES, values)
    chunk = db.execute(_NEXT_CHUNK, values).one_or_none()
    if chunk is None:
        return 0
    values |= {"start": chunk.start}
    if chunk.variables is None:
        made = rowcount(db, _FAN_OUT_SQLITE, values | {"recipients": chunk.recipients})
    else:
        rows = zip(chunk.recipients.split(","), chunk.variables.split("\n"), strict=True)
        made = rowcount(db, _FAN_OUT_VARIABLES_SQLITE, values | {"rows": json.dumps([*rows])})
    db.execute(_DROP_CHUNK, values)
    return made
