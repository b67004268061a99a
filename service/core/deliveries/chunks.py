"""Chunks: turns the frozen recipients of a broadcast into deliveries (fan-out)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

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

_WAITING = f"""
    WITH RECURSIVE waiting(id) AS (
        SELECT min(session_id) FROM recipient_chunks
        UNION ALL
        SELECT (SELECT min(session_id) FROM recipient_chunks WHERE session_id > waiting.id)
        FROM waiting WHERE waiting.id IS NOT NULL),
    place AS (
        SELECT coalesce(s.client_id, '') AS client_id, waiting.id AS session_id, coalesce(
            (SELECT min(broadcast_id) FROM recipient_chunks
             WHERE session_id = waiting.id AND {_MAY_GO} AND broadcast_id > {{last}}),
            (SELECT min(broadcast_id) FROM recipient_chunks
             WHERE session_id = waiting.id AND {_MAY_GO})) AS broadcast_id
        FROM waiting LEFT JOIN sessions AS s ON s.id = waiting.id)
    SELECT client_id, session_id, broadcast_id FROM place WHERE broadcast_id IS NOT NULL
"""  # noqa: S608 - the condition is ours
_WAITING_POSTGRES = text(_WAITING.format(last="coalesce(CAST(:lasts AS jsonb) ->> waiting.id, '')"))
_WAITING_SQLITE = text(
    _WAITING.format(last="""coalesce(json_extract(:lasts, '$."' || waiting.id || '"'), '')""")
)
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


class Place(NamedTuple):
    """A broadcast with recipients to fan out, its session and its client."""

    client_id: str
    session_id: str
    broadcast_id: str


def waiting(db: Db, lasts: Mapping[str, str]) -> list[Place]:
    """List one broadcast for each session with recipients to fan out: the one after its last.

    After a session's newest broadcast comes its oldest.
    """
    statement = _WAITING_POSTGRES if is_postgres(db) else _WAITING_SQLITE
    return [Place(*row) for row in db.execute(statement, {"lasts": json.dumps(dict(lasts))})]


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
