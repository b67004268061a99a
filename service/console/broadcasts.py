"""Broadcasts: the list, one of them with all that can be done about it, and its people."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, render_template
from sqlalchemy.orm import Session as Db

from service.blueprints import exports
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import bars, bubbles, charts, fallbacks, listing, notices, progress
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.console.language import ngettext
from service.console.replies import of_person
from service.core import (
    broadcasts,
    costs,
    delivery_log,
    estimates,
    histories,
    overviews,
    reasons,
    replies,
    reports,
    variables,
    ways,
)
from service.core.deliveries import progress as parts
from service.core.deliveries import timelines
from service.core.delivery_log import DeliveryScope, Entry
from service.core.paging import Page, PageRequest
from service.core.reports import Filter
from service.database import now_ms
from service.errors import NotFoundError
from service.models import Broadcast, BroadcastStatus, Delivery, DeliveryStatus

blueprint = Section("broadcasts", __name__)

_REMOVED: Final = "removed"
"""The list of what was cancelled or deleted, until the operator purges it."""

_STATES: Final = {
    "running": (BroadcastStatus.SENDING, BroadcastStatus.PAUSED),
    "scheduled": (BroadcastStatus.SCHEDULED,),
    "completed": (BroadcastStatus.COMPLETED,),
    _REMOVED: (),
}
"""What the list can be narrowed to."""

_NEWEST = 20


@blueprint.page("/broadcasts")
def index() -> str:
    """Show all broadcasts, the newest first, or those that are searched for."""
    words = listing.words()
    state = request.args.get("state", "")
    with crier().database.reading() as db:
        page = overviews.search(
            db,
            visitor().client_id,
            words,
            _STATES.get(state, ()),
            listing.wanted(),
            deleted=state == _REMOVED,
        )
        shown = progress.of(db, page.items)
        found = _to_recipients(db, words)
    return render_template(
        listing.template("broadcasts"),
        found=found,
        page=page.map(lambda each: shown[each.id]),
        words=words,
        state=state,
        states=_STATES,
        moves=any(each.moves for each in shown.values()),
    )


@blueprint.page("/broadcasts/<id:broadcast_id>")
def show(broadcast_id: str) -> str:
    """Show one broadcast, its message and its progress."""
    with crier().database.reading() as db:
        broadcast = progress.readable(db, broadcast_id)
        facts = _facts(db, broadcast) | _people(db, broadcast)
        facts["bubbles"] = bubbles.of_content(broadcast.content)
        facts["answers"] = replies.answers(db, broadcast.id) if broadcast.replies else []
        facts |= _cost(db, broadcast)
    return render_template("console/broadcast.html", **facts)


@blueprint.page("/broadcasts/<id:broadcast_id>/live")
def live(broadcast_id: str) -> str:
    """Show what moves of one broadcast."""
    with crier().database.reading() as db:
        facts = _facts(db, progress.readable(db, broadcast_id))
    return render_template("console/_broadcast.html", **facts)


@blueprint.page("/broadcasts/<id:broadcast_id>/cost")
def cost(broadcast_id: str) -> str:
    """Show the cost of a broadcast so far."""
    with crier().database.reading() as db:
        broadcast = progress.readable(db, broadcast_id)
        shown = progress.of(db, [broadcast])[broadcast_id]
        facts = _cost(db, broadcast)
    return render_template("console/_cost.html", shown=shown, **facts)


@blueprint.page("/broadcasts/<id:broadcast_id>/people")
def people(broadcast_id: str) -> str:
    """Show some of the people of a broadcast."""
    with crier().database.reading() as db:
        broadcast = progress.readable(db, broadcast_id)
        facts = _people(db, broadcast)
        shown = progress.of(db, [broadcast])[broadcast_id]
    return render_template("console/_people.html", shown=shown, **facts)


@blueprint.page("/deliveries/<id:delivery_id>")
def delivery(delivery_id: str) -> str:
    """Show the delivery to one person."""
    with crier().database.reading() as db:
        entry = _delivery(db, delivery_id)
        shown = progress.of(db, [entry.broadcast])[entry.broadcast.id]
        taken = ways.taken(db, entry.broadcast, entry.delivery)
        history = histories.read(db, entry, taken)
        went = fallbacks.taken(db, taken)
        written = of_person(db, entry.delivery.recipient)
    return render_template(
        listing.template("delivery"),
        delivery=entry.delivery,
        history=history,
        ways=went,
        replies=written,
        message_ids=parts.taken(entry.delivery.message_ids),
        shown=shown,
        state=bars.words(entry.delivery.status),
    )


@blueprint.page("/broadcasts/<id:broadcast_id>/recipients.<any(csv, xlsx):kind>")
def export(broadcast_id: str, kind: str) -> Response:
    """Send the recipients as a file, filtered as they are shown."""
    with crier().database.reading() as db:
        broadcast = progress.readable(db, broadcast_id)
    wanted = Filter(_status(), code=request.args.get("code"))
    return exports.answer(broadcast, wanted, exports.CSV if kind == "csv" else exports.XLSX)


@blueprint.action("/broadcasts/<id:broadcast_id>/pause", "broadcast.pause")
def pause(broadcast_id: str) -> Response:
    """Hand nothing more over, until it is resumed."""
    with crier().database.writing() as db:
        broadcasts.pause(db, visitor().client_id, broadcast_id, now=now_ms())
    notices.give(_("Paused. Nothing more is sent until you resume it."))
    return _to(broadcast_id)


@blueprint.action("/broadcasts/<id:broadcast_id>/resume", "broadcast.resume")
def resume(broadcast_id: str) -> Response:
    """Go on after a pause."""
    with crier().database.writing() as db:
        broadcasts.resume(db, visitor().client_id, broadcast_id, now=now_ms())
    notices.give(_("Resumed."))
    return _to(broadcast_id)


@blueprint.action("/broadcasts/<id:broadcast_id>/cancel", "broadcast.delete")
def cancel(broadcast_id: str) -> Response:
    """Cancel what has not been handed over; the broadcast is then among the removed ones."""
    with crier().database.writing() as db:
        broadcasts.delete(db, visitor().client_id, broadcast_id, now=now_ms())
    notices.give(_("Cancelled. Messages that were not sent yet will not be sent."))
    return _to(broadcast_id)


@blueprint.action("/broadcasts/<id:broadcast_id>/retry", "broadcast.retry")
def retry(broadcast_id: str) -> Response:
    """Send failed or uncertain deliveries again."""
    wanted = (DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN)
    statuses = [each for each in wanted if each in request.form.getlist("status")]
    with crier().database.writing_much() as db:
        broadcast = broadcasts.get(db, visitor().client_id, broadcast_id)
        before = reports.counts(broadcast)["pending"] - broadcast.uncertain
        broadcast, _left_out = broadcasts.retry(
            db,
            visitor().client_id,
            broadcast_id,
            statuses,
            codes=request.form.getlist("code"),
            accounts=crier().accounts,
            now=now_ms(),
        )
        again = reports.counts(broadcast)["pending"] - broadcast.uncertain - before
    notices.give(ngettext("Retrying one recipient.", "Retrying %(n)s recipients.", again))
    return _to(broadcast_id)


def _to_recipients(db: Db, words: str) -> Page[Entry] | None:
    """Return the newest deliveries to a searched recipient; None: the words name no recipient."""
    people = listing.recipients(words)
    if not people:
        return None
    scope = DeliveryScope(visitor().client_id)
    newest = PageRequest(1, _NEWEST, descending=True)
    return delivery_log.to_recipients(db, scope, people, newest)


def _delivery(db: Db, delivery_id: str) -> Entry:
    """Return a delivery, even of a cancelled or deleted broadcast."""
    scope = DeliveryScope(visitor().client_id)
    try:
        return delivery_log.get(db, scope, delivery_id)
    except NotFoundError:
        return delivery_log.get(db, scope._replace(deleted=True), delivery_id)


def _facts(db: Db, broadcast: Broadcast) -> dict[str, Any]:
    shown = progress.of(db, [broadcast])[broadcast.id]
    now = now_ms()
    buckets = timelines.read(db, broadcast)
    rate = estimates.rate(buckets, now=now)
    return {
        "shown": shown,
        "failed": shown.retriable(DeliveryStatus.FAILED),
        "uncertain": shown.retriable(DeliveryStatus.UNCERTAIN),
        "reasons": reasons.grouped(db, broadcast),
        "ways": fallbacks.done(db, reports.shown_ways(db, broadcast)),
        "rate": rate,
        "estimate": estimates.make(db, broadcast, rate, now=now) if shown.is_open else None,
        "chart": charts.of_timeline(timelines.points(broadcast, buckets, now=now)),
    }


def _cost(db: Db, broadcast: Broadcast) -> dict[str, Any]:
    """Return the cost of a broadcast at its session's prices, and how it is charged."""
    return {
        "cost": costs.of_broadcast(db, broadcast, crier().accounts),
        "charges": costs.charges(db, broadcast.id),
    }


def _people(db: Db, broadcast: Broadcast) -> dict[str, Any]:
    """Return a page of a broadcast's deliveries that match the search."""
    words = listing.words()
    people = listing.recipients(words, broadcast) or tuple(filter(None, [words]))
    status = _status()
    code = request.args.get("code")
    asked = listing.wanted(is_descending=False)
    page: Page[Delivery] = reports.page(db, broadcast, Filter(status, people, code), asked)
    return {
        "page": page,
        "values": {each.id: [*variables.load(each.variables).values()] for each in page.items},
        "words": words,
        "status": status or "",
        "code": code,
        "statuses": [*DeliveryStatus],
    }


def _status() -> DeliveryStatus | None:
    """Return the state that the query string names, if it names one."""
    chosen = request.args.get("status", "")
    return DeliveryStatus(chosen) if chosen in [*DeliveryStatus] else None


def _to(broadcast_id: str) -> Response:
    return to_page("broadcasts.show", broadcast_id=broadcast_id)
