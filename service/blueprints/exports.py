"""The deliveries of a broadcast as files, generated while they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from flask import Response

from service import spreadsheets
from service.blueprints import long_answers
from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, within
from service.blueprints.deliveries import narrowed
from service.core import broadcasts, exports, personalisation, variables
from service.core.deliveries import progress
from service.core.exports import ExportedDelivery
from service.core.reports import Filter
from service.core.tokens import Scope
from service.models import Broadcast
from service.schemas.fields import show_moment
from service.schemas.pages import DeliveryFilterSchema
from service.spreadsheets import Page

blueprint = Blueprint("exports", __name__, description="Deliveries as files")

COLUMNS: Final = (
    *("_id", "recipient", "status", "attempts", "code", "reason", "message_ids"),
    *("step", "session_id", "sentAt", "deliveredAt", "readAt", "updatedAt"),
)


Cells = Callable[[ExportedDelivery], Sequence[Any]]


class Format(NamedTuple):
    """A kind of file. A table joins several ids, and has a column for each placeholder."""

    name: str
    mimetype: str
    write: Callable[[Sequence[str], Iterator[Page], int], Iterator[bytes]]
    is_table: bool = True


CSV: Final = Format("csv", "text/csv", lambda names, pages, _: spreadsheets.csv(names, pages))
NDJSON: Final = Format(
    "ndjson",
    "application/x-ndjson",
    lambda names, pages, _: spreadsheets.ndjson(names, pages),
    is_table=False,
)
XLSX: Final = Format(
    "xlsx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    lambda names, pages, most: spreadsheets.xlsx(names, pages, most=most),
)


@blueprint.get("/broadcast/<id:broadcast_id>/delivery.csv", "exportDeliveriesAsCsv")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.takes_query(DeliveryFilterSchema)
@blueprint.streams(CSV.mimetype)
def csv(query: dict[str, Any], broadcast_id: str) -> Response:
    """Fetch the result for each recipient as CSV in UTF-8, in the order of `to`.

    Each placeholder of the message has a column with the recipient's value. `step` and `session_id`
    name the way of a fallback that gave a delivery its status; step 0 is the session of the
    broadcast. An apostrophe precedes any text that a spreadsheet program would run as a formula.
    """
    return _sent(broadcast_id, query, CSV)


@blueprint.get("/broadcast/<id:broadcast_id>/delivery.ndjson", "exportDeliveriesAsNdjson")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.takes_query(DeliveryFilterSchema)
@blueprint.streams(NDJSON.mimetype)
def ndjson(query: dict[str, Any], broadcast_id: str) -> Response:
    """Fetch the result for each recipient as one JSON object per line, in the order of `to`."""
    return _sent(broadcast_id, query, NDJSON)


@blueprint.get("/broadcast/<id:broadcast_id>/delivery.xlsx", "exportDeliveriesAsXlsx")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.takes_query(DeliveryFilterSchema)
@blueprint.streams(XLSX.mimetype)
def xlsx(query: dict[str, Any], broadcast_id: str) -> Response:
    """Fetch the result for each recipient as a workbook, in the order of `to`.

    Each placeholder of the message has a column with the recipient's value.
    A sheet holds 1,048,575 deliveries; further ones go to the next sheet.
    """
    return _sent(broadcast_id, query, XLSX)


def _sent(broadcast_id: str, query: dict[str, Any], form: Format) -> Response:
    with crier().database.reading() as db:
        broadcast = broadcasts.get(
            db, caller().client_id, broadcast_id, within=within(), deleted=query["deleted"]
        )
    return answer(broadcast, narrowed(query, broadcast), form)


def answer(broadcast: Broadcast, wanted: Filter, form: Format) -> Response:
    """Return the deliveries as a file; raises TooManyAnswersError."""
    columns, cells = _table(broadcast) if form.is_table else ((*COLUMNS, "variables"), _object)
    read = partial(exports.page, broadcast=broadcast, wanted=wanted)
    pages = ([*map(cells, found)] for found in long_answers.pages(read, exports.PAGE))
    content = form.write(columns, pages, broadcast.total)
    return long_answers.file(content, form.mimetype, f"deliveries-{broadcast.id}.{form.name}")


def _table(broadcast: Broadcast) -> tuple[Sequence[str], Cells]:
    """Return the columns of a table, and a function that turns a delivery into a row."""
    names = personalisation.written_names(broadcast)

    def cells(found: ExportedDelivery) -> Sequence[Any]:
        known = variables.load(found.row.variables)
        message_ids = " ".join(progress.taken(found.row.message_ids))
        return _cells(found, message_ids, *map(known.get, names))

    headings = [f"variables.{name}" if name in COLUMNS else name for name in names]
    return (*COLUMNS, *headings), cells


def _object(found: ExportedDelivery) -> Sequence[Any]:
    row = found.row
    return _cells(found, progress.taken(row.message_ids), variables.load(row.variables))


def _cells(found: ExportedDelivery, ids: Any, *values: Any) -> Sequence[Any]:
    row = found.row
    return (
        row.id,
        row.recipient,
        row.status,
        row.attempts,
        row.code,
        row.reason,
        ids,
        *found.way,
        *map(_moment, (row.sent_at, row.delivered_at, row.read_at, row.updated_at)),
        *values,
    )


def _moment(at: int | None) -> str | None:
    return None if at is None else show_moment(at)
