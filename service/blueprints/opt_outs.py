"""Routes of opt-outs: people to whom one session, or every session of a client, sends nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

from flask import Response

from service import spreadsheets
from service.blueprints import long_answers
from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, reachable, searched, within
from service.core import entries, opt_out_policies, opt_outs, recipients
from service.core.deliveries.opted_out import OPTED_OUT
from service.core.opt_out_policies import Policy
from service.core.opt_outs import Exported, Imported, Row
from service.core.paging import Page
from service.core.tokens import Scope
from service.database import now_ms
from service.dispatch.sending.revocations import await_end
from service.errors import BusyError, InvalidError, LimitError
from service.schemas.base import Shown
from service.schemas.fields import show_moment
from service.schemas.opt_outs import (
    NewOptOutSchema,
    OptOutImportedSchema,
    OptOutImportSchema,
    OptOutPageSchema,
    OptOutPolicyChangeSchema,
    OptOutPolicySchema,
    OptOutSchema,
)
from service.spreadsheets import Cell

blueprint = Blueprint("opt-outs", __name__, description="People who want no more messages")

MOST_IMPORTED = 100_000
_COLUMNS = ("recipient", "session_id", "since", "source")
_CREATED = "Opt-out created successfully!"
_FETCHED = "Opt-out fetched successfully!"
_DELETED = "Opt-out deleted successfully!"
_IMPORTED = "Opt-outs imported successfully!"


@blueprint.post("/session/<id:session_id>/opt-out", "createOptOut")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.takes(NewOptOutSchema)
@blueprint.raises(BusyError, LimitError)
@blueprint.answers(201, OptOutSchema, _CREATED)
def create(body: dict[str, Any], session_id: str) -> Shown:
    """Add an opt-out: this session sends nothing more to that person.

    Waiting and future deliveries to them fail with `opted_out`; a retry leaves them out. After the
    answer, no further message to them starts.
    """
    return _add(reachable(session_id), body["recipient"])


@blueprint.get("/session/<id:session_id>/opt-out", "listOptOuts")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(OptOutPageSchema)
@blueprint.answers(200, OptOutSchema, _FETCHED, many=True)
def index(wanted: dict[str, Any], session_id: str) -> Page[Shown]:
    """Fetch everybody who told the provider or you to stop, oldest first."""
    return _page(reachable(session_id), wanted)


@blueprint.delete("/session/<id:session_id>/opt-out/<recipient>", "deleteOptOut")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.answers(200, OptOutSchema, _DELETED)
def delete(session_id: str, recipient: str) -> Shown:
    """Delete an opt-out if the person asks for messages again. A provider may still refuse."""
    return _delete(reachable(session_id), recipient)


@blueprint.post("/session/<id:session_id>/opt-out/import", "importOptOuts")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.takes(OptOutImportSchema)
@blueprint.raises(BusyError, LimitError)
@blueprint.answers(200, OptOutImportedSchema, _IMPORTED)
def bring(body: dict[str, Any], session_id: str) -> Imported:
    """Add up to 100,000 opt-outs: this session sends nothing more to these people."""
    return _bring(reachable(session_id), body["recipients"])


@blueprint.post("/opt-out", "createClientOptOut")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(NewOptOutSchema)
@blueprint.raises(BusyError, LimitError)
@blueprint.answers(201, OptOutSchema, _CREATED)
def create_for_client(body: dict[str, Any]) -> Shown:
    """Add an opt-out from all your sessions, including those you create later."""
    return _add(None, body["recipient"])


@blueprint.get("/opt-out", "listClientOptOuts")
@blueprint.scope(Scope.READ)
@blueprint.pages(OptOutPageSchema)
@blueprint.answers(200, OptOutSchema, _FETCHED, many=True)
def index_of_client(wanted: dict[str, Any]) -> Page[Shown]:
    """Fetch everybody who opted out of all your sessions."""
    return _page(None, wanted)


@blueprint.delete("/opt-out/<recipient>", "deleteClientOptOut")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(200, OptOutSchema, _DELETED)
def delete_for_client(recipient: str) -> Shown:
    """Delete an opt-out from all your sessions. An opt-out from a single session still counts."""
    return _delete(None, recipient)


@blueprint.post("/opt-out/import", "importClientOptOuts")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(OptOutImportSchema)
@blueprint.raises(BusyError, LimitError)
@blueprint.answers(200, OptOutImportedSchema, _IMPORTED)
def bring_for_client(body: dict[str, Any]) -> Imported:
    """Add up to 100,000 opt-outs from all your sessions."""
    return _bring(None, body["recipients"])


@blueprint.get("/opt-out/export", "exportOptOuts")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.streams("text/csv")
def export() -> Response:
    """Fetch all opt-outs as CSV: yours first, then each session's. The import takes this file."""
    read = partial(opt_outs.export, client_id=caller().client_id, within=within())
    pages = ([*map(_exported, found)] for found in long_answers.pages(read, opt_outs.EXPORTED))
    return long_answers.file(spreadsheets.csv(_COLUMNS, pages), "text/csv", "opt-outs.csv")


@blueprint.get("/opt-out/policy", "getOptOutPolicy")
@blueprint.scope(Scope.READ)
@blueprint.answers(200, OptOutPolicySchema, "Opt-out policy fetched successfully!")
def show_policy() -> Policy:
    """Fetch your opt-out rules: the keywords that stop messages, and what follows."""
    with crier().database.reading() as db:
        return opt_out_policies.get(db, caller().client_id)


@blueprint.put("/opt-out/policy", "updateOptOutPolicy")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(OptOutPolicyChangeSchema)
@blueprint.answers(200, OptOutPolicySchema, "Opt-out policy updated successfully!")
def update_policy(body: dict[str, Any]) -> Policy:
    """Change the keywords that stop messages, and what follows. Omitted fields stay."""
    with crier().database.writing() as db:
        return opt_out_policies.change(db, caller().client_id, body)


def _add(session_id: str | None, recipient: str) -> Shown:
    with crier().database.writing() as db:
        whose = opt_outs.owner(db, caller().client_id, session_id)
        row, revoked = opt_outs.add(db, whose, recipient, now=now_ms())
    await_end(crier().database, revoked)
    return _shown(row)


def _page(session_id: str | None, wanted: dict[str, Any]) -> Page[Shown]:
    with crier().database.reading() as db:
        whose = opt_outs.owner(db, caller().client_id, session_id)
        people = searched(wanted["recipient"])
        found = opt_outs.page(db, whose, wanted["page"], recipients=people)
    return found.map(_shown)


def _delete(session_id: str | None, recipient: str) -> Shown:
    with crier().database.writing() as db:
        whose = opt_outs.owner(db, caller().client_id, session_id)
        return _shown(opt_outs.delete(db, whose, recipient))


def _bring(session_id: str | None, given: entries.Given) -> Imported:
    people = recipients.read(_first_column(given), most=MOST_IMPORTED)
    if people.count > MOST_IMPORTED:
        reason = f"Has more than {MOST_IMPORTED:,} entries: import them in several requests."
        raise InvalidError(errors={"recipients": [reason]})
    with crier().database.writing_much() as db:
        whose = opt_outs.owner(db, caller().client_id, session_id)
        imported = opt_outs.bring(db, whose, people, now=now_ms())
    await_end(crier().database, imported.revoked)
    return imported


def _first_column(given: entries.Given) -> entries.Given:
    """Return the recipients if the text is an exported file, or else the input unchanged."""
    if not isinstance(given, str) or not given.lstrip("\ufeff").startswith(_COLUMNS[0]):
        return given
    lines = csv.DictReader(io.StringIO(given.lstrip("\ufeff")))
    return [line[_COLUMNS[0]] or "" for line in lines]


def _exported(found: Exported) -> Sequence[Cell]:
    return found.recipient, found.session_id, show_moment(found.created_at), found.source


def _shown(opt_out: Row) -> Shown:
    return Shown(opt_out, reason=OPTED_OUT)
