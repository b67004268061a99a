"""The home page: running broadcasts, holds with their reasons, and today's numbers."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import render_template

from service.blueprints.context import crier
from service.console import charts, progress
from service.console.access import Section, visitor
from service.console.language import zone
from service.core import overviews, sessions
from service.core.paging import LARGEST_SIZE, PageRequest
from service.database import now_ms

blueprint = Section("home", __name__)

_NEWEST = 5
_MOST_RUNNING = 20


@blueprint.page("/")
def show() -> str:
    """Show how everything fares."""
    return render_template("console/home.html", **_facts())


@blueprint.page("/live")
def live() -> str:
    """Show what moves."""
    return render_template("console/_home.html", **_facts())


def _facts() -> dict[str, Any]:
    client_id, now = visitor().client_id, now_ms()
    with crier().database.reading() as db:
        running = overviews.running(db, client_id, _MOST_RUNNING)
        newest = overviews.newest(db, client_id, _NEWEST)
        accounts = sessions.page(db, client_id, PageRequest(1, LARGEST_SIZE)).items
        today = overviews.since(db, client_id, _midnight(now))
        minutes = overviews.minutes(db, client_id, now=now)
        views = progress.of(db, [*running, *newest])
    return {
        "running": [views[each.id] for each in running],
        "newest": [views[each.id] for each in newest if each not in running],
        "sessions": accounts,
        "held": [each for each in accounts if each.reason],
        "today": today,
        "chart": charts.of_minutes(minutes),
        "moves": any(views[each.id].moves for each in running),
    }


def _midnight(now: int) -> int:
    """Return when the viewer's day began."""
    local = dt.datetime.fromtimestamp(now / 1000, zone())
    return round(local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
