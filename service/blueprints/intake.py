"""Intake: accepts a broadcast for the API or the console in a short transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.orm import Session as Db

from service.blueprints.context import caller, crier
from service.core import intake
from service.core.broadcast_requests import BroadcastRequest
from service.core.intake import Accepted, Plan
from service.database import now_ms

T = TypeVar("T")


def accept(
    order: BroadcastRequest,
    told: Callable[[Db, Accepted], T],
    check: Callable[[Plan], None] | None = None,
) -> T:
    """Accept a broadcast of the caller for sending; return what `told` returns for it.

    A long broadcast is validated before the transaction, so that others can write meanwhile. So is
    a broadcast with a `check`, which may refuse the plan. Raises what `core.intake.accept` raises.
    """
    client_id, planned = caller().client_id, None
    common: Any = {"accounts": crier().accounts, "now": now_ms()}
    if check or intake.is_long(order):
        with crier().database.reading() as db:
            planned = intake.plan(db, client_id, order, **common)
    if check and planned:
        check(planned)
    with crier().database.writing() as db:
        return told(db, intake.accept(db, client_id, order, planned=planned, **common))
