"""Clients."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from service.core import clients, dispatchers
from service.core.clients import DISABLED
from service.core.deliveries import chunks, claims
from service.database import Database, now_ms
from service.errors import ConflictError, InvalidError, NotFoundError
from service.models import Broadcast, BroadcastStatus
from tests.conftest import Tenant


def test_a_client_is_found_by_its_name(database: Database) -> None:
    with database.writing() as db:
        made = clients.create(db, "  Acme ")
    with database.reading() as db:
        assert clients.get(db, "Acme").id == made.id
        assert [client.name for client in clients.every(db)] == ["Acme"]


def test_a_name_belongs_to_one_client(database: Database) -> None:
    with database.writing() as db:
        clients.create(db, "Acme")
    with database.writing() as db, pytest.raises(ConflictError, match="'Acme' already"):
        clients.create(db, "Acme")


def test_a_client_needs_a_name(database: Database) -> None:
    with database.writing() as db, pytest.raises(InvalidError):
        clients.create(db, " ")


def test_an_unknown_client_is_not_found(database: Database) -> None:
    with database.reading() as db, pytest.raises(NotFoundError, match="client 'Acme'"):
        clients.get(db, "Acme")


# Disabled


def accept(acme: Tenant, **order: Any) -> str:
    wanted = {"send_type": "individual", "to": "12025550110", "message": {"text": "Hello"}}
    made: str = acme.make("/broadcast", **wanted, **order)["_id"]
    return made


def see(acme: Tenant, broadcast_id: str) -> tuple[str, str | None]:
    with acme.crier.database.reading() as db:
        broadcast = db.get_one(Broadcast, broadcast_id)
        return broadcast.status, broadcast.reason


def test_a_disabled_client_is_refused_and_its_broadcasts_pause_until_it_is_enabled(
    acme: Tenant, globex: Tenant
) -> None:
    for tenant in (acme, globex):
        tenant.make("/session", name="main", channel="sandbox")
    going = accept(acme)
    later = accept(acme, send_at="2900-01-01T00:00:00Z", expires_at="2900-01-02T00:00:00Z")
    paused, others = accept(acme), accept(globex)
    acme.post(f"/broadcast/{paused}/pause")
    with acme.crier.database.writing() as db:
        assert clients.disable(db, "Acme", now=now_ms()) == 2
    refused = acme.get("/broadcast")
    assert (refused.status_code, refused.get_json()["message"]) == (401, DISABLED)
    assert see(acme, going) == see(acme, later) == ("paused", DISABLED)
    assert see(globex, others) == ("sending", None)
    assert globex.get("/broadcast").status_code == 200
    with acme.crier.database.writing() as db:
        assert clients.enable(db, "Acme", now=now_ms()) == 2
    assert acme.get("/broadcast").status_code == 200
    assert (see(acme, going)[0], see(acme, later)[0]) == ("sending", "scheduled")
    assert see(acme, paused) == ("paused", "Paused by the client.")


def test_the_token_of_a_session_is_refused_with_its_client(acme: Tenant) -> None:
    made = acme.make("/session", name="main", channel="sandbox")
    acme.token = made["access_token"]
    assert acme.get("/session").status_code == 200
    with acme.crier.database.writing() as db:
        clients.disable(db, "Acme", now=now_ms())
    assert acme.get("/session").status_code == 401


def test_nothing_of_a_disabled_client_is_claimed_whatever_its_status_says(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    made = accept(acme)
    with acme.crier.database.writing() as db:
        chunks.fan_out(db, made, now=now_ms())
        clients.disable(db, "Acme", now=now_ms())
        # As a late failure does, or a broadcast that was accepted at the same moment.
        db.execute(update(Broadcast).values(status=BroadcastStatus.SENDING, reason=None))
    assert claimed(acme, made) == 0
    with acme.crier.database.writing() as db:
        clients.enable(db, "Acme", now=now_ms())
    assert claimed(acme, made) == 1


def claimed(acme: Tenant, broadcast_id: str) -> int:
    """Claim what is due, as a dispatcher would; return how many deliveries there are."""
    now = now_ms()
    with acme.crier.database.writing() as db:
        found = claims.active(db, {}, turns=10, assigned=None, now=now)
        claim_id = dispatchers.register(db, now=now)
        revision = db.get_one(Broadcast, broadcast_id).revision
        taken = claims.take(
            db, claim_id, {broadcast_id: 10}, now=now, revisions={broadcast_id: revision}
        )
        assert len(found) == len(taken)
        return len(taken)
