"""The report of a broadcast."""

from __future__ import annotations

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, within
from service.core import broadcasts, costs, estimates, reasons, reports
from service.core.deliveries import timelines
from service.core.tokens import Scope
from service.database import now_ms
from service.schemas.base import Shown
from service.schemas.pages import DeletedSchema
from service.schemas.reports import ReportSchema

blueprint = Blueprint("reports", __name__, description="How broadcasts fare")


@blueprint.get("/broadcast/<id:broadcast_id>/report", "getBroadcastReport")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.takes_query(DeletedSchema)
@blueprint.answers(200, ReportSchema, "Report fetched successfully!")
def show(deleted: bool, broadcast_id: str) -> Shown:  # noqa: FBT001 - given by its schema
    """Fetch the progress of a broadcast: states, reasons, a timeline, the rate and the likely end.

    The report reads counters that are updated during sending, so you can fetch it often.
    """
    now = now_ms()
    with crier().database.reading() as db:
        broadcast = broadcasts.get(
            db, caller().client_id, broadcast_id, within=within(), deleted=deleted
        )
        buckets = timelines.read(db, broadcast)
        rate = estimates.rate(buckets, now=now)
        return Shown(
            broadcast,
            counts=reports.counts(broadcast),
            reason=reports.held(db, broadcast) or broadcast.reason,
            reasons=reasons.grouped(db, broadcast),
            ways=reports.shown_ways(db, broadcast),
            timeline=timelines.points(broadcast, buckets, now=now),
            rate=round(rate, 3),
            estimate=estimates.make(db, broadcast, rate, now=now),
            cost=costs.of_broadcast(db, broadcast, crier().accounts),
            charges=[
                {"pricing": pricing, "deliveries": count}
                for pricing, count in costs.charges(db, broadcast.id).items()
            ],
        )
