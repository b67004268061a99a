"""The transitions of a delivery that nobody has to claim first, and the end of a claim.

Each is one guarded UPDATE that says what the row must still be, and it moves the counters of the
broadcast in the same transaction. What differs between the databases is how a list of rows is
handed to a statement: arrays on Postgres, JSON on SQLite.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session as Db

from service.core.deliveries import events, tallies
from service.core.deliveries.events import Event
from service.core.deliveries.progress import VOID
from service.database import is_postgres, rowcount
from service.models import DeliveryStatus, EventKind

OPTED_OUT = "This person has opted out of messages from this account."
"""The reason of deliveries to somebody who wants no more messages."""


class Outcome(NamedTuple):
    """What became of one claimed delivery; `tried` is 0 where the provider was not called.

    `at` and `due_at` are milliseconds of Unix time; `due_at` matters where it is queued again.
    `claimed_at` is that of the claim it came of, 0 for whichever there is.
    """

    id: str
    status: DeliveryStatus
    tried: int
    at: int
    due_at: int
    message_ids: str | None = None
    code: str | None = None
    reason: str | None = None
    claimed_at: int = 0

    @property
    def broadcast_id(self) -> str:
        """The broadcast that it belongs to, as the delivery's id tells it."""
        return f"{self.id[:18]}000000"


LONGEST: Final = 1_000
"""Characters that are kept of each id, code and reason that a provider gives."""


def storable(words: str) -> str:
    """Return a provider's words as they are kept: cut, and without what no database takes.

    That are NUL and halves of characters.
    """
    if len(words) <= LONGEST and words.isascii() and "\0" not in words:
        return words
    return words[:LONGEST].replace("\0", "").encode("utf-8", "replace").decode()


# A result that is written again, as the first answer was lost, must not hit the next claim of the
# same dispatcher on the same row: hence the moment of the claim. The guard stands in a CASE so that
# each row is found by its id: an index on what is claimed would be walked once per outcome, and
# Postgres, before it knows the table, would read all of it.
_RECORD = """
    UPDATE deliveries SET
        status = o.status, claim_id = NULL, attempts = deliveries.attempts + o.tried,
        due_at = o.due_at, updated_at = o.at,
        sent_at = CASE WHEN o.status = 'sent' THEN o.at ELSE sent_at END,
        message_ids = o.message_ids, code = o.code, reason = o.reason
    FROM {outcomes}
    WHERE deliveries.id = o.id AND {found} CASE
        WHEN deliveries.claim_id = :claim_id AND deliveries.status = 'sending'
        THEN o.claimed_at IN (0, deliveries.updated_at) ELSE FALSE END
"""
_OUTCOMES_POSTGRES = """unnest(
    CAST(:id AS text[]), CAST(:status AS text[]), CAST(:tried AS int[]),
    CAST(:at AS bigint[]), CAST(:due_at AS bigint[]), CAST(:message_ids AS text[]),
    CAST(:code AS text[]), CAST(:reason AS text[]), CAST(:claimed_at AS bigint[]))
    AS o(id, status, tried, at, due_at, message_ids, code, reason, claimed_at)"""
_FOUND_POSTGRES = "deliveries.id = ANY(CAST(:id AS text[])) AND"
_RECORD_POSTGRES = text(f"""
    WITH moved AS ({_RECORD.format(outcomes=_OUTCOMES_POSTGRES, found=_FOUND_POSTGRES)}
        RETURNING deliveries.broadcast_id, deliveries.status)
    SELECT broadcast_id, status, count(*) FROM moved GROUP BY broadcast_id, status
""")  # noqa: S608 - the names are ours
_OUTCOMES_SQLITE = f"""(SELECT {
    ", ".join(
        f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(Outcome._fields)
    )
} FROM json_each(:outcomes)) AS o"""  # noqa: S608 - the names are ours
_RECORD_SQLITE = text(_RECORD.format(outcomes=_OUTCOMES_SQLITE, found=""))


def record(db: Db, claim_id: str, outcomes: Sequence[Outcome], *, now: int) -> list[tallies.Closed]:
    """Write what became of claimed deliveries; return the broadcasts that ended with it.

    A delivery that this claim no longer holds is left as it is: somebody else answers for it.
    """
    events.keep(db, [*_unfinished(outcomes)], claim_id=claim_id)
    if is_postgres(db):
        values = {"claim_id": claim_id, **_arrays(outcomes)}
        moved: Iterable[Any] = db.execute(_RECORD_POSTGRES, values).all()
    else:
        moved = [_record_alike(db, claim_id, alike) for alike in _by_end(outcomes)]
    return tallies.move(db, tallies.add_up(moved), now=now)


def _unfinished(outcomes: Iterable[Outcome]) -> Iterable[Event]:
    """Yield the events of what is tried again: its reason is overwritten by the next attempt."""
    for each in outcomes:
        if each.status is DeliveryStatus.QUEUED and each.reason:
            kind = EventKind.RETRYING if each.tried else EventKind.HELD
            told = (each.code, each.reason, each.due_at, each.claimed_at)
            yield Event(each.id, each.at, kind, 0, *told)


def _record_alike(
    db: Db, claim_id: str, outcomes: Sequence[Outcome]
) -> tuple[str, DeliveryStatus, int]:
    """Write outcomes of one broadcast and status; return these, and how many rows it were.

    The number is all that is asked of SQLite: for each row that it returned, this thread would let
    another one run.
    """
    values = {"claim_id": claim_id, "outcomes": json.dumps(outcomes)}
    count = rowcount(db, _RECORD_SQLITE, values)
    return outcomes[0].broadcast_id, outcomes[0].status, count


def _by_end(outcomes: Sequence[Outcome]) -> Iterable[list[Outcome]]:
    """Group outcomes by broadcast and status."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.broadcast_id, outcome.status), []).append(outcome)
    return groups.values()


def _arrays(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Write outcomes as one Postgres array for each field.

    By hand, since psycopg asks each element for its type: that took a third of a batch's time.
    """
    columns = zip(*outcomes, strict=True)
    return {
        name: f"{{{','.join(map(_ELEMENTS.get(name, str), column))}}}"
        for name, column in zip(Outcome._fields, columns, strict=True)
    }


def _quoted(words: str | None) -> str:
    if words is None:
        return "NULL"
    escaped = words.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_ELEMENTS = {"message_ids": _quoted, "code": _quoted, "reason": _quoted}
"""How the elements of an array are written; all others are numbers, ids and words of ours."""


_WITHDRAW = text("""
    UPDATE deliveries SET status = :status, updated_at = :now, code = :code, reason = :reason
    WHERE id IN (SELECT id FROM deliveries
                 WHERE broadcast_id = :broadcast_id AND status = 'queued' LIMIT :limit)
        AND status = 'queued'
    RETURNING broadcast_id, status
""")


def withdraw(  # noqa: PLR0913 - a row has that many columns to set
    db: Db,
    broadcast_id: str,
    status: DeliveryStatus,
    code: str,
    reason: str,
    *,
    limit: int,
    now: int,
) -> int:
    """End up to `limit` deliveries that nobody has claimed; return how many there were."""
    values = {"status": status, "code": code, "reason": reason, "limit": limit, "now": now}
    moved = db.execute(_WITHDRAW, values | {"broadcast_id": broadcast_id}).all()
    tallies.move(db, tallies.gains(moved), now=now)
    return len(moved)


_LEAVE_OUT = text("""
    UPDATE deliveries SET status = 'failed', updated_at = :now, code = 'opted_out', reason = :reason
    WHERE recipient = :recipient AND status = 'queued' AND broadcast_id IN (
        SELECT id FROM broadcasts WHERE session_id = :session_id AND closed_at IS NULL)
    RETURNING broadcast_id, status
""")


def leave_out(db: Db, session_id: str, recipient: str, *, now: int) -> None:
    """End what a session has not begun to send to a recipient, in all its broadcasts."""
    values = {"session_id": session_id, "recipient": recipient, "reason": OPTED_OUT, "now": now}
    moved = db.execute(_LEAVE_OUT, values)
    tallies.move(db, tallies.gains(moved.all()), now=now)


_REQUEUED = """
    broadcast_id = :broadcast_id AND status = :status {of_codes} AND NOT EXISTS (
        SELECT 1 FROM opt_outs WHERE opt_outs.recipient = deliveries.recipient
            AND session_id = (SELECT session_id FROM broadcasts WHERE id = :broadcast_id))
"""
_REQUEUE = """
    UPDATE deliveries SET
        status = 'queued', attempts = 0, due_at = :now, updated_at = :now, progress = NULL,
        message_ids = CASE WHEN progress LIKE '%f%' THEN ({marked})
                           WHEN status = 'uncertain'
                                THEN trim(COALESCE(message_ids, '') || ' ' || :void)
                           ELSE message_ids END
    WHERE {requeued}
"""
_MARKED_POSTGRES = """
    SELECT string_agg(
        CASE substr(progress, CAST(place AS int), 1) WHEN 'f' THEN :void || word ELSE word END,
        ' ' ORDER BY place)
    FROM unnest(string_to_array(message_ids, ' ')) WITH ORDINALITY AS m(word, place)"""
_MARKED_SQLITE = """
    SELECT group_concat(
        CASE substr(progress, place, 1) WHEN 'f' THEN :void || word ELSE word END, ' ')
    FROM (SELECT value AS word, key + 1 AS place FROM json_each(
          '[' || replace(json_quote(message_ids), ' ', '","') || ']') ORDER BY key)"""


class _Requeue(NamedTuple):
    """The two statements of a retry, in this order."""

    remember: TextClause
    move: TextClause

    @classmethod
    def of(cls, marked: str, of_codes: str = "") -> _Requeue:
        where = _REQUEUED.format(of_codes=of_codes)
        move = text(_REQUEUE.format(marked=marked, requeued=where))
        return cls(events.keeping(EventKind.RETRIED, where), move)


# A delivery without a code has the empty one here.
_OF_CODES_POSTGRES = "AND COALESCE(code, '') = ANY(CAST(:codes AS text[]))"
_OF_CODES_SQLITE = "AND COALESCE(code, '') IN (SELECT value FROM json_each(:codes))"
_REQUEUE_ALL = (_Requeue.of(_MARKED_SQLITE), _Requeue.of(_MARKED_POSTGRES))
_REQUEUE_SOME = (
    _Requeue.of(_MARKED_SQLITE, _OF_CODES_SQLITE),
    _Requeue.of(_MARKED_POSTGRES, _OF_CODES_POSTGRES),
)


def requeue(
    db: Db, broadcast_id: str, status: DeliveryStatus, *, codes: Sequence[str] = (), now: int
) -> int:
    """Give failed or uncertain deliveries a new set of attempts; return how many there were.

    Only those with one of these codes, where there are any; the empty one is that of a delivery
    without a code. Those to people who have opted out stay as they are.

    Parts that the provider took are not sent again, but for those that it gave up afterwards:
    their ids stay, marked, so that a receipt which comes again is not taken for one of the new try.
    What was uncertain is marked too: it has not failed, should the new attempts fail.
    """
    requeue = (_REQUEUE_SOME if codes else _REQUEUE_ALL)[is_postgres(db)]
    values: dict[str, Any] = {"broadcast_id": broadcast_id, "status": status, "now": now}
    if codes:
        values["codes"] = list(codes) if is_postgres(db) else json.dumps(list(codes))
    db.execute(requeue.remember, values | {"most": events.MOST})
    count = rowcount(db, requeue.move, values | {"void": VOID})
    tallies.move(db, {broadcast_id: Counter({status: -count})}, now=now)
    return count


_BRING_FORWARD = text("""
    UPDATE deliveries SET
        status = :new_status, message_ids = :new_message_ids, progress = :new_progress,
        code = :new_code, reason = :new_reason, due_at = :new_due_at, attempts = :new_attempts,
        sent_at = COALESCE(sent_at, :new_sent_at), updated_at = :new_updated_at,
        delivered_at = COALESCE(:new_delivered_at, delivered_at),
        read_at = COALESCE(:new_read_at, read_at)
    WHERE id = :delivery_id AND status = :was
""")


def bring_forward(db: Db, moves: Sequence[dict[str, object]]) -> None:
    """Write what receipts say of deliveries that `db` has locked; the caller moves the counters."""
    if moves:
        db.execute(_BRING_FORWARD, moves)
