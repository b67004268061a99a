"""Fallbacks in the console: the fields of the steps, and what ways have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.blueprints.requests import request
from service.console import bars, forms
from service.core import fallbacks
from service.core.reports import ShownWay
from service.core.ways import Taken
from service.models import Session, StepCondition

NUMBERS: Final = range(fallbacks.MOST)
"""The numbers of the steps that the form has."""


def steps() -> list[dict[str, Any]]:
    """Return the steps that a form names; those without a session are left out."""
    return [step for number in NUMBERS if (step := _step(f"fallback.{number}"))["session_id"]]


def _step(prefix: str) -> dict[str, Any]:
    minutes = forms.number(f"{prefix}.minutes", int)
    waits = {"minutes": minutes} if minutes else {}
    words = request.form.get(f"{prefix}.text", "").replace("\r\n", "\n").strip()
    said = {"message": {"text": words}} if words else {}
    after = StepCondition.UNDELIVERED if minutes else StepCondition.FAILED
    return {"session_id": forms.text(f"{prefix}.session_id"), "after": after, **waits, **said}


def fields(kept: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return the fields of a form for the steps of a broadcast."""
    found: dict[str, str] = {}
    for number, step in enumerate(kept or ()):
        found[f"fallback.{number}.session_id"] = step["session_id"]
        found[f"fallback.{number}.minutes"] = str(step.get("minutes") or "")
        found[f"fallback.{number}.text"] = (step.get("message") or {}).get("text") or ""
    return found


def names(db: Db, session_ids: Sequence[str | None]) -> dict[str | None, str]:
    """Return the names of sessions by id."""
    known = select(Session.id, Session.name).where(Session.id.in_([*filter(None, session_ids)]))
    return {row[0]: row[1] for row in db.execute(known)}


def done(db: Db, ways: Sequence[ShownWay]) -> list[dict[str, Any]]:
    """Return the results of a broadcast's ways, with a bar for each."""
    called = names(db, [way.session_id for way in ways]) if ways else {}
    return [
        {
            "step": way.step,
            "name": called.get(way.session_id),
            "total": way.counts["total"],
            "bar": bars.parts(way.counts, is_held=False),
        }
        for way in ways
    ]


def taken(db: Db, ways: Sequence[Taken]) -> list[dict[str, Any]]:
    """Return the ways that a delivery has taken, if they are more than one."""
    if len(ways) == 1:
        return []
    called = names(db, [way.session_id for way in ways])
    return [
        {
            "name": called.get(way.session_id),
            "delivery": way.delivery,
            "state": bars.words(way.delivery.status),
        }
        for way in ways
    ]
