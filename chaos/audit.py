"""The audit: what the service says, in its API and its tables, against what providers received."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from benchmarks.stub import MessageLog
from chaos import under_way
from chaos.plan import CHANNELS, Order, Plan
from chaos.traffic import Traffic
from chaos.under_way import UnderWay
from service.models import COUNTED

COUNTERS = ("sent", "delivered", "read", "failed", "cancelled", "uncertain")
_DONE = frozenset({"sent", "delivered", "read"})
_OPEN = frozenset({"queued", "sending"})
_SHOWN = 5

_DELIVERIES = text("SELECT broadcast_id, recipient, status, code, claim_id FROM deliveries")
_BROADCASTS = text(f"SELECT id, total, status, closed_at, {', '.join(COUNTERS)} FROM broadcasts")  # noqa: S608
_CHUNKS = text("SELECT count(*) FROM recipient_chunks")
_RECEIVED = "SELECT recipient, kind, count(*) FROM messages GROUP BY recipient, kind"


class Evidence(NamedTuple):
    """What is known from elsewhere than the service.

    The sandbox's store and the stub's message log hold all messages that were received; `kills` are
    moments in Unix seconds.
    """

    sandbox: Path
    stub: MessageLog
    kills: Sequence[float]


class Row(NamedTuple):
    """What the service says of one delivery."""

    broadcast_id: str
    recipient: str
    status: str
    code: str | None
    claim_id: str | None


@dataclass(slots=True)
class Tally:
    """What one kind of channel has come to, in deliveries; `copies` are messages too many."""

    accepted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    stuck: int = 0
    copies: int = 0
    received_though_failed: int = 0
    received_though_uncertain: int = 0


@dataclass(slots=True)
class Audit:
    """All that was compared; `examples` are sentences about the first of each wrong thing.

    `unanswered` are orders that were never answered 201: nothing is promised for them.
    """

    tallies: dict[str, Tally]
    broadcasts: int = 0
    unanswered: int = 0
    under_way: UnderWay = field(default_factory=UnderWay)
    wrong_counters: int = 0
    strangers: int = 0
    chunks_left: int = 0
    examples: list[str] = field(default_factory=list)

    def example(self, sentence: str) -> None:
        """Keep a sentence, if it is not one of many."""
        if len(self.examples) < _SHOWN * 4:
            self.examples.append(sentence)


def compare(
    plan: Plan,
    traffic: Traffic,
    told: dict[str, dict[str, int]],
    connection: Connection,
    evidence: Evidence,
) -> Audit:
    """Compare accepted orders with the service's tables and with what the providers received.

    `told` are the counts that the API gives for each broadcast.
    """
    audit = Audit({name: Tally() for name in plan.channels})
    rows = _rows(connection)
    audit.under_way = _under_way(rows, traffic, evidence)
    received = _received(evidence)
    kinds = {session.name: kind for kind in plan.channels for session in CHANNELS[kind]}
    accepted = traffic.accepted
    for order in traffic.orders:
        if order.number not in accepted:
            audit.unanswered += 1
            for number in order.recipients:
                received.pop(str(number), None)
            continue
        tally = audit.tallies[kinds[order.session]]
        mine = rows.pop(accepted[order.number], {})
        _compare_order(audit, tally, order, mine, received)
    audit.strangers = len(received)
    for recipient in list(received)[:_SHOWN]:
        audit.example(f"{recipient} got a message that no accepted broadcast has for them")
    audit.chunks_left = connection.scalar(_CHUNKS) or 0
    _check_counters(audit, connection, told)
    return audit


def _rows(connection: Connection) -> dict[str, dict[str, Row]]:
    by_broadcast: dict[str, dict[str, Row]] = {}
    for each in connection.execute(_DELIVERIES):
        row = Row(*each)
        by_broadcast.setdefault(row.broadcast_id, {})[row.recipient] = row
    return by_broadcast


def _under_way(rows: dict[str, dict[str, Row]], traffic: Traffic, evidence: Evidence) -> UnderWay:
    """Look at the uncertain deliveries of the sessions whose provider is the stub."""
    called = {session.name for session in itertools.chain(*CHANNELS.values()) if session.calls}
    uncertain = [
        row.recipient
        for order in traffic.orders
        if order.session in called and order.number in traffic.accepted
        for row in rows.get(traffic.accepted[order.number], {}).values()
        if row.status == "uncertain"
    ]
    monotonic = time.monotonic() - time.time()
    moments = [kill + monotonic for kill in evidence.kills]
    stub = evidence.stub
    return under_way.look(uncertain, stub.taken(), stub.closings(), moments)


def _received(evidence: Evidence) -> dict[str, dict[str, int]]:
    """Return how many messages of each kind every recipient got."""
    received: dict[str, dict[str, int]] = {}
    if evidence.sandbox.exists():
        with closing(sqlite3.connect(evidence.sandbox)) as connection:
            for recipient, kind, count in connection.execute(_RECEIVED):
                received.setdefault(recipient, {})[kind] = count
    for message in evidence.stub.taken():
        kinds = received.setdefault(message.recipient, {})
        kinds[message.kind] = kinds.get(message.kind, 0) + 1
    return received


def _compare_order(
    audit: Audit,
    tally: Tally,
    order: Order,
    rows: dict[str, Row],
    received: dict[str, dict[str, int]],
) -> None:
    tally.accepted += order.size
    for number in order.recipients:
        recipient = str(number)
        row = rows.pop(recipient, None)
        _compare_one(audit, tally, order, row, received.pop(recipient, {}))
    for recipient in rows:
        audit.example(f"order {order.number} has a delivery for a stranger, {recipient}")
        audit.strangers += 1


def _compare_one(
    audit: Audit, tally: Tally, order: Order, row: Row | None, got: dict[str, int]
) -> None:
    status = row.status if row else "missing"
    whole = all(got.get(kind) for kind in order.kinds)
    tally.statuses[status] += 1
    tally.copies += sum(count - 1 for count in got.values())
    if row is None or (status in _DONE and not whole):
        tally.lost += 1
        audit.example(f"lost: order {order.number}, {row}, the provider has {got}")
    elif status in _OPEN:
        tally.stuck += 1
        audit.example(f"stuck: order {order.number}, {row}")
    elif status not in _DONE:
        tally.codes[f"{status} {row.code}"] += 1
        tally.received_though_failed += status == "failed" and whole
        tally.received_though_uncertain += status == "uncertain" and whole


def _check_counters(audit: Audit, connection: Connection, told: dict[str, dict[str, int]]) -> None:
    """Count the broadcasts whose counters, or what the API says of them, are not their rows'."""
    grouped = text("SELECT broadcast_id, status, count(*) FROM deliveries GROUP BY 1, 2")
    facts: dict[str, Counter[str]] = {}
    for broadcast_id, status, count in connection.execute(grouped):
        facts.setdefault(broadcast_id, Counter())[status] = count
    for row in connection.execute(_BROADCASTS).mappings():
        audit.broadcasts += 1
        if wrong := _wrong(dict(row), facts.get(row["id"], Counter()), told.get(row["id"])):
            audit.wrong_counters += 1
            audit.example(f"broadcast {row['id']}: {wrong}")


def _wrong(row: dict[str, Any], facts: Counter[str], told: dict[str, int] | None) -> str:
    kept = {name: row[name] for name in COUNTED}
    counted = {name: facts[name] for name in COUNTED}
    if kept != counted:
        return f"its counters say {kept}, its rows {counted}"
    if told is not None and {name: told[name] for name in COUNTED} != counted:
        return f"the API says {told}, its rows {counted}"
    still_open = row["total"] - sum(counted.values())
    if (row["closed_at"] is None) != (still_open > 0):
        return f"{still_open} open, closed at {row['closed_at']}"
    return ""
