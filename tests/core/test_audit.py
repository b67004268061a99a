"""The audit log: an entry with each change, no change without it, none without a change."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from service import ids
from service.core import audit, audit_entries, clients, retention, tokens
from service.core.audit import Action
from service.core.audit_entries import AuditFilter
from service.database import Database, now_ms
from service.errors import ConflictError
from service.models import ActionSource, AuditEntry, Client

DAY = 86_400_000


@pytest.fixture
def database(database: Database) -> Database:
    database.listen(audit.LISTENERS)
    return database


def command(name: str = "client.create") -> Action:
    return Action(name, ActionSource.COMMAND, address="root@db1")


def entries(database: Database) -> list[AuditEntry]:
    with database.reading() as db:
        return list(db.scalars(select(AuditEntry).order_by(AuditEntry.id)))


def test_a_change_has_an_entry_that_says_who_and_what(database: Database) -> None:
    with audit.doing(command()), database.writing() as db:
        client_id = clients.create(db, "Acme").id
    [entry] = entries(database)
    assert (entry.action, entry.source, entry.address) == ("client.create", "command", "root@db1")
    assert (entry.client_id, entry.object_id) == (client_id, client_id)
    assert abs(now_ms() - entry.created_at) < DAY


def test_what_nobody_does_has_none(database: Database) -> None:
    with database.writing() as db:
        clients.create(db, "Acme")
    with audit.doing(command()), audit.doing(None), database.writing() as db:
        clients.create(db, "Globex")
    assert entries(database) == []


def test_what_is_rolled_back_has_none_and_what_is_done_then_has_one(database: Database) -> None:
    with audit.doing(command()):
        with pytest.raises(ConflictError):
            _fail_after_a_change(database)
        assert entries(database) == []
        with database.writing() as db:
            client_id = clients.create(db, "Globex").id
    assert [entry.object_id for entry in entries(database)] == [client_id]


def _fail_after_a_change(database: Database) -> None:
    with database.writing() as db:
        clients.create(db, "Acme")
        clients.create(db, "Acme")


@pytest.mark.parametrize("way", ["row", "statement", "returned", "text"])
def test_each_way_to_change_a_row_counts_and_changing_none_does_not(
    database: Database, way: str
) -> None:
    with database.writing() as db:
        client = clients.create(db, "Acme")
    for name, count in (("Nobody", 0), ("Acme", 1)):
        with audit.doing(command()), database.writing() as db:
            wanted = update(Client).where(Client.name == name).values(disabled_at=1)
            if way == "row":
                db.get_one(Client, client.id).disabled_at = count or None
            elif way == "statement":
                db.execute(wanted)
            elif way == "returned":
                db.execute(wanted.returning(Client.id)).all()
            else:
                said = "UPDATE clients SET disabled_at = 1 WHERE name = :name"
                db.execute(text(said), {"name": name})
            db.execute(select(Client).with_for_update()).all()
        assert len(entries(database)) == count


def test_a_savepoint_has_no_entry_of_its_own(database: Database) -> None:
    with audit.doing(command()), database.writing() as db:
        with db.begin_nested():
            clients.create(db, "Acme")
        with db.begin_nested() as savepoint:
            clients.create(db, "Globex")
            savepoint.rollback()
        with db.begin_nested():
            clients.create(db, "Initech")
    assert len(entries(database)) == 1


def test_an_action_of_several_transactions_has_one_entry(database: Database) -> None:
    with audit.doing(command("purge")):
        for name in ("Acme", "Globex"):
            with database.writing() as db:
                clients.create(db, name)
    assert len(entries(database)) == 1


def test_nothing_is_done_if_the_entry_cannot_be_stored(database: Database) -> None:
    with database.writing() as db:
        db.execute(text("ALTER TABLE audit_entries RENAME TO elsewhere"))
    with pytest.raises(DBAPIError), audit.doing(command()), database.writing() as db:
        clients.create(db, "Acme")
    with database.reading() as db:
        assert clients.every(db) == []


def test_an_entry_names_the_changed_columns_but_not_what_is_in_them(database: Database) -> None:
    with database.writing() as db:
        client = clients.create(db, "Acme")
        _, secret = tokens.create(db, client.id, "laptop", ["read"])
    with audit.doing(command("token.revoke")), database.writing() as db:
        token = tokens.revoke(db, secret, 1_800_000_000_000)
    [entry] = entries(database)
    assert (entry.object_id, entry.client_id) == (token.id, client.id)
    assert entry.changed == "revoked_at"
    assert "1800000000000" not in str(vars(entry))


def test_entries_are_found_by_what_they_say(database: Database) -> None:
    rows = [
        {"client_id": "c" * 24, "action": "token.create", "object_id": "a" * 24},
        {"client_id": "c" * 24, "action": "token.revoke", "token_id": "b" * 24},
        {"client_id": "d" * 24, "action": "token.revoke"},
    ]
    with database.writing() as db:
        for number, row in enumerate(rows, start=1):
            moment = number * DAY
            made = {"id": ids.first(moment), "created_at": moment, "source": "api", **row}
            db.add(AuditEntry(**made))
    for wanted, found in (
        (AuditFilter(), [3, 2, 1]),
        (AuditFilter("c" * 24), [2, 1]),
        (AuditFilter("c" * 24, action="token.revoke"), [2]),
        (AuditFilter(token_id="b" * 24), [2]),
        (AuditFilter(object_id="a" * 24), [1]),
        (AuditFilter(since=2 * DAY), [3, 2]),
        (AuditFilter(since=2 * DAY + 1), [3]),
        (AuditFilter(until=2 * DAY), [1]),
        (AuditFilter(until=2 * DAY + 1), [2, 1]),
    ):
        with database.reading() as db:
            newest = audit_entries.newest(db, wanted, 10)
        assert [entry.created_at // DAY for entry in newest] == found, wanted


def test_old_entries_are_forgotten_by_the_piece(database: Database) -> None:
    with database.writing() as db:
        for day in range(1, 6):
            made = {"id": ids.first(day * DAY), "created_at": day * DAY, "source": "api"}
            db.add(AuditEntry(action="client.create", **made))
    with database.writing() as db:
        assert retention.extent(db, before=0, audited_before=4 * DAY).entries == 3
        assert retention.forget_audit(db, before=4 * DAY, limit=2) == 2
        assert retention.forget_audit(db, before=4 * DAY, limit=2) == 1
    assert [entry.created_at // DAY for entry in entries(database)] == [4, 5]


@pytest.mark.parametrize(
    ("number", "shown"), [("12025550110", "…0110"), ("1234567", "…"), ("", "…")]
)
def test_of_a_number_no_more_than_its_end_is_shown(number: str, shown: str) -> None:
    assert audit.mask(number) == shown


def test_a_refusal_is_entered_in_place_of_the_action(database: Database) -> None:
    with audit.doing(command("sign_in.create")), database.writing() as db:
        audit.refuse(db, "sign_in.refuse", "Wrong.", client_id=None, token_id=None)
    [entry] = entries(database)
    assert (entry.action, entry.detail, entry.client_id) == ("sign_in.refuse", "Wrong.", None)
