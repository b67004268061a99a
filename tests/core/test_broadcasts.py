"""The verbs of broadcasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import ids
from service.channels.content import Content, Part, UnsupportedContentError
from service.core import broadcasts, clients, contacts, groups, opt_outs, reports, sessions
from service.core.deliveries import transitions
from service.core.deliveries.opted_out import OptOutOwner
from service.core.deliveries.transitions import Outcome
from service.core.paging import PageRequest
from service.core.reports import SHOWN, Arrays
from service.database import now_ms
from service.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    ServiceError,
    UnknownSessionError,
)
from service.models import Attachment, Broadcast, DeliveryStatus
from tests.conftest import on_postgres, on_sqlite
from tests.probe import Probe, Stage
from tests.world import ADA, GRACE, JOAN, World, numbers

HOUR = 3_600_000
EVERYBODY = [ADA, GRACE, JOAN]
GROUP = "120363025246125486@g.us"


@pytest.fixture
def world(world: World) -> World:
    """Return a world in which a session is there to send with."""
    world.session()
    return world


def errors_of(make: Callable[[], object]) -> dict[str, Any]:
    """Return what is wrong with a request, by field."""
    with pytest.raises(InvalidError) as caught:
        make()
    return caught.value.errors


def attach(world: World, name: str, client_id: str | None) -> str:
    """Store an attachment's row and return its id."""
    described = {"type": "jpeg", "mimetype": "image/jpeg", "filename": f"{name}.jpeg", "size": 3}
    with world.database.writing() as db:
        attachment = Attachment(name=name, client_id=client_id, **described)
        db.add(attachment)
        db.flush()
        return attachment.id


def know(world: World, name: str, *phones: str) -> str:
    with world.database.writing() as db:
        fields = {"name": name, "phones": list(phones)}
        return contacts.create(db, world.client_id, fields).id


def gather(world: World, name: str, *contact_ids: str) -> str:
    with world.database.writing() as db:
        fields = {"name": name, "contacts": list(contact_ids)}
        return groups.create(db, world.client_id, fields).id


def stranger(world: World) -> World:
    """Return the world of another client on the same database."""
    other = world.with_settings()
    with world.database.writing() as db:
        other.client_id = clients.create(db, "Globex").id
    other.session()
    return other


def count(world: World, table: str) -> int:
    return int(world.ask(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - our own names


# Create


def test_a_broadcast_is_one_row_with_its_recipients_frozen(world: World) -> None:
    now = now_ms()
    broadcast = world.get(world.with_settings(fanout_chunk=2).broadcast(EVERYBODY, now=now))
    assert (broadcast.status, broadcast.total, broadcast.version) == ("sending", 3, 0)
    assert (broadcast.created_at, broadcast.updated_at) == (now, now)
    assert broadcast.closed_at is None
    assert count(world, "deliveries") == 0
    chunks = world.ask("SELECT start, recipients FROM recipient_chunks ORDER BY start")
    assert [tuple(chunk) for chunk in chunks] == [(0, f"{ADA},{GRACE}"), (2, JOAN)]


def test_to_is_shown_as_it_was_given_and_sent_as_it_is_meant(world: World) -> None:
    given = f" +{ADA} , {GRACE},{ADA},{JOAN[:3]}-{JOAN[3:]},"
    broadcast = world.get(world.broadcast(given))
    assert (broadcast.to, broadcast.to_truncated, broadcast.total) == (given, False, 3)
    (chunk,) = world.ask("SELECT recipients FROM recipient_chunks")
    assert chunk.recipients == f"{ADA},{GRACE},{JOAN}"


@pytest.mark.parametrize("as_text", [True, False])
def test_a_long_to_is_shown_by_its_beginning(
    world: World,
    as_text: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    given = numbers(SHOWN + 1)
    broadcast = world.get(world.broadcast(",".join(given) if as_text else given))
    head = given[:SHOWN]
    assert broadcast.to == (",".join(head) if as_text else head)
    assert broadcast.to_truncated
    assert broadcast.total == SHOWN + 1


def test_an_empty_session_is_the_default_one(world: World) -> None:
    other = world.session()
    default = world.get(world.broadcast([ADA])).session_id
    assert default != other
    assert world.get(world.broadcast([ADA], session_id=other)).session_id == other


def test_what_was_accepted_does_not_change_with_what_it_names(world: World) -> None:
    contact_id = know(world, "Ada Lovelace", ADA)
    broadcast_id = world.broadcast([GRACE], message={"contactId": contact_id})
    with world.database.writing() as db:
        contacts.delete(db, world.client_id, contact_id)
    with world.database.reading() as db:
        content = world.accounts.restored(db.get_one(Broadcast, broadcast_id).content)
    assert content.contact is not None
    assert content.contact.name == "Ada Lovelace"


def test_every_part_of_the_channel_is_counted(world: World, stage: Stage) -> None:
    del stage
    session_id = world.session("probe")
    broadcast_id = world.broadcast([ADA], "one two three", session_id=session_id)
    assert world.get(broadcast_id).parts == 3


def test_a_broadcast_may_begin_later(world: World) -> None:
    now = now_ms()
    later = world.get(world.broadcast([ADA], send_at=now + HOUR))
    assert (later.status, later.send_at) == ("scheduled", now + HOUR)
    assert later.expires_at > now + HOUR
    assert world.get(world.broadcast([ADA], send_at=now - 1)).status == "sending"


def test_what_expires_before_it_begins_is_refused(world: World) -> None:
    now = now_ms()
    assert world.get(world.broadcast([ADA], expires_at=now + HOUR)).expires_at == now + HOUR
    for order in ({"expires_at": now - 1}, {"expires_at": now + HOUR, "send_at": now + 2 * HOUR}):
        errors = errors_of(lambda order=order: world.broadcast([ADA], **order))  # type: ignore[misc]
        assert list(errors) == ["expires_at"]


def test_every_bad_entry_is_named_with_its_position(world: World) -> None:
    errors = errors_of(lambda: world.broadcast([ADA, "letters", GRACE, "", "123"]))
    assert list(errors) == ["to.1", "to.3", "to.4"]
    assert "'letters'" in errors["to.1"][0]
    assert count(world, "broadcasts") == 0


def test_of_very_many_bad_entries_the_first_are_named_and_no_others_looked_at(world: World) -> None:
    errors = errors_of(lambda: world.broadcast(["x"] * 20_000))
    assert len(errors) == 1_001
    assert "More than 1,000 entries are not valid" in errors["to"][0]
    assert "after number 5,000 were not checked" in errors["to"][0]


@pytest.mark.parametrize("nobody", ["", " ", ",", []])
def test_a_broadcast_to_nobody_is_refused(world: World, nobody: str | list[str]) -> None:
    assert "to" in {name.partition(".")[0] for name in errors_of(lambda: world.broadcast(nobody))}


def test_more_recipients_than_allowed_are_refused(world: World) -> None:
    small = world.with_settings(max_recipients=3)
    assert small.broadcast(numbers(3))
    assert "MAX_RECIPIENTS" in errors_of(lambda: small.broadcast(numbers(4)))["to"][0]


@on_sqlite
@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message"),
        ({"text": " "}, "message"),
        ({"contactId": "a" * 24}, "message.contactId"),
        ({"text": "Hello", "contactId": "not an id"}, "message.contactId"),
        ({"attachments": ["a" * 24]}, "message.attachments.0"),
    ],
)
def test_a_message_that_says_nothing_or_names_what_is_not_there_is_refused(
    world: World, message: dict[str, Any], field: str
) -> None:
    assert list(errors_of(lambda: world.broadcast([ADA], message=message))) == [field]


def test_all_that_is_wrong_is_said_at_once(world: World) -> None:
    message = {"attachments": ["a" * 24, "b" * 24], "contactId": "c" * 24}
    errors = errors_of(
        lambda: world.broadcast([ADA, "letters"], message=message, expires_at=now_ms() - 1)
    )
    assert set(errors) == {
        "message.attachments.0",
        "message.attachments.1",
        "message.contactId",
        "to.1",
        "expires_at",
    }


def test_another_clients_things_are_not_there(world: World) -> None:
    other = stranger(world)
    contact_id = know(other, "Grace Hopper", GRACE)
    group_id = gather(other, "Friends", contact_id)
    theirs = attach(other, "JCEVJKGEFKSMR8W", other.client_id)
    message = {"attachments": [theirs], "contactId": contact_id}
    errors = errors_of(lambda: world.broadcast([ADA], message=message))
    assert set(errors) == {"message.attachments.0", "message.contactId"}
    assert list(errors_of(lambda: world.broadcast([group_id], send_type="group"))) == ["to.0"]
    (session,) = other.ask("SELECT id FROM sessions WHERE client_id = :id", id=other.client_id)
    with pytest.raises(UnknownSessionError):
        world.broadcast([ADA], session_id=session.id)


def test_an_attachment_of_nobody_may_be_sent_by_all(world: World) -> None:
    shared = attach(world, "JCEVJKGEFKSMR8W", None)
    assert world.broadcast([ADA], message={"attachments": [shared, shared]})
    assert count(world, "broadcast_attachments") == 1


def test_a_client_without_a_session_is_told_to_make_one(world: World) -> None:
    with world.database.writing() as db:
        for row in sessions.page(db, world.client_id, PageRequest()).items:
            sessions.delete(db, world.client_id, row.id)
    assert "POST /session" in errors_of(lambda: world.broadcast([ADA]))["session_id"][0]


def test_what_the_channel_cannot_carry_is_refused_by_name(world: World, stage: Stage) -> None:
    session_id = world.session("probe")

    def plan(_content: Content) -> tuple[Part, ...]:
        raise UnsupportedContentError("message.location", "The probe shows no places.")

    stage.plan = plan
    errors = errors_of(lambda: world.broadcast([ADA], session_id=session_id))
    assert errors == {"message.location": ["The probe shows no places."]}


# Groups


def test_groups_are_replaced_by_their_members_each_once(world: World) -> None:
    ada, grace, joan = (
        know(world, name, *phones)
        for name, phones in (("Ada", (ADA, JOAN)), ("Grace", (GRACE,)), ("Joan", (JOAN,)))
    )
    first, second = gather(world, "One", grace, ada), gather(world, "Two", ada, joan)
    given = f"{first},{GROUP},{second}"
    broadcast_id = world.ready(given, send_type="group")
    assert [row.recipient for row in world.deliveries(broadcast_id)] == [GRACE, ADA, GROUP, JOAN]
    assert world.get(broadcast_id).to == given
    assert world.get(broadcast_id).total == 4


@pytest.mark.parametrize("form", [list, ",".join, "\n".join, " ;\n".join])
def test_every_unknown_group_is_named_by_its_place(
    world: World, form: Callable[[list[str]], str | list[str]]
) -> None:
    to = form(["a" * 24, GROUP, "b" * 24, "a" * 24])
    errors = errors_of(lambda: world.broadcast(to, send_type="group"))
    assert errors == {
        "to.0": [f"You have no group {'a' * 24!r}."],
        "to.2": [f"You have no group {'b' * 24!r}."],
    }


def test_numbers_are_no_groups_and_groups_are_no_numbers(world: World) -> None:
    assert list(errors_of(lambda: world.broadcast([ADA, GROUP]))) == ["to.1"]
    assert list(errors_of(lambda: world.broadcast([GROUP, ADA], send_type="group"))) == ["to.1"]


def test_a_group_without_members_names_nobody(world: World) -> None:
    empty = gather(world, "Nobody")
    assert (
        "at least one recipient"
        in errors_of(lambda: world.broadcast([empty], send_type="group"))["to"][0]
    )


def test_whatsapp_groups_are_refused_where_the_channel_does_not_reach_them(
    world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stage
    monkeypatch.setattr(Probe, "reaches_groups", False)
    session_id = world.session("probe")
    errors = errors_of(lambda: world.broadcast([GROUP], send_type="group", session_id=session_id))
    assert list(errors) == ["to.0"]
    crowd = gather(world, "Crowd", know(world, "Ada", ADA), know(world, "Grace", GRACE))
    both = errors_of(
        lambda: world.broadcast([crowd, GROUP], send_type="group", session_id=session_id)
    )
    assert list(both) == ["to.1"]


# Idempotency


def test_the_same_request_under_the_same_key_is_one_broadcast(world: World) -> None:
    made = [
        world.broadcast(EVERYBODY, idempotency_key="spring sale", fingerprint="same")
        for _ in range(3)
    ]
    assert len(set(made)) == 1
    assert count(world, "broadcasts") == count(world, "recipient_chunks") == 1


def test_another_request_under_the_same_key_is_refused(world: World) -> None:
    world.broadcast([ADA], idempotency_key="spring sale", fingerprint="one")
    with pytest.raises(ConflictError, match="Idempotency-Key"):
        world.broadcast([GRACE], idempotency_key="spring sale", fingerprint="other")


def test_a_key_is_the_clients_own(world: World) -> None:
    other = stranger(world)
    first = world.broadcast([ADA], idempotency_key="spring sale", fingerprint="one")
    second = other.broadcast([GRACE], idempotency_key="spring sale", fingerprint="other")
    assert first != second


def test_requests_without_a_key_are_all_new(world: World) -> None:
    assert world.broadcast([ADA]) != world.broadcast([ADA])


def test_of_requests_that_come_at_once_under_one_key_one_creates(world: World) -> None:
    made: list[str] = []
    together = threading.Barrier(8)

    def post() -> None:
        together.wait(60)
        made.append(world.broadcast(EVERYBODY, idempotency_key="spring sale", fingerprint="same"))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert count(world, "broadcasts") == count(world, "recipient_chunks") == 1


@on_postgres
def test_a_rival_that_commits_in_between_is_found(world: World, stage: Stage) -> None:
    """Both looked for the key before either had stored it."""
    session_id = world.session("probe")
    rivals: list[str] = []
    words = stage.plan

    def order() -> str:
        return world.broadcast(
            [ADA], session_id=session_id, idempotency_key="spring sale", fingerprint="same"
        )

    def plan(content: Content) -> tuple[Part, ...]:
        if not rivals:
            rivals.append("")
            rivals[0] = order()
        return words(content)

    stage.plan = plan
    assert order() == rivals[0]
    assert count(world, "broadcasts") == 1


@on_postgres
@pytest.mark.parametrize("gone", ["sessions", "attachments"])
def test_what_is_deleted_in_between_is_a_conflict_and_no_defect(
    world: World, stage: Stage, gone: str
) -> None:
    session_id = world.session("probe")
    attachment_id = attach(world, "JCEVJKGEFKSMR8W", world.client_id)
    words = stage.plan
    doomed = session_id if gone == "sessions" else attachment_id

    def plan(content: Content) -> tuple[Part, ...]:
        world.tell(f"DELETE FROM {gone} WHERE id = :id", id=doomed)  # noqa: S608 - our own names
        return words(content)

    stage.plan = plan
    message = {"text": "Hello", "attachments": [attachment_id]}
    with pytest.raises(ConflictError, match="has just been deleted"):
        world.broadcast([ADA], session_id=session_id, message=message)
    assert count(world, "broadcasts") == 0


# Get, page, arrays and counts


def test_what_is_another_clients_or_deleted_or_no_id_is_not_found(world: World) -> None:
    mine, theirs = world.broadcast([ADA]), stranger(world).broadcast([ADA])
    with world.database.writing() as db:
        assert broadcasts.get(db, world.client_id, mine).id == mine
        broadcasts.delete(db, world.client_id, mine, now=now_ms())
    for broadcast_id in (mine, theirs, ids.new(), "no id", ""):
        with world.database.reading() as db, pytest.raises(NotFoundError):
            broadcasts.get(db, world.client_id, broadcast_id)


def test_a_list_has_the_oldest_first_and_no_deleted_one(world: World) -> None:
    made = [world.broadcast([ADA]) for _ in range(4)]
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, made[1], now=now_ms())
    stranger(world).broadcast([ADA])
    with world.database.reading() as db:
        page = broadcasts.page(db, world.client_id, PageRequest())
        newest = broadcasts.page(db, world.client_id, PageRequest(1, 1, descending=True))
    assert [each.id for each in page.items] == sorted([made[0], *made[2:]])
    assert page.total == 3
    assert [each.id for each in newest.items] == [max(made)]


def settle(world: World, broadcast_id: str, *ends: DeliveryStatus | None) -> None:
    """Claim deliveries in the order of `to` and end each one so; None: it stays claimed."""
    claims = world.claim(broadcast_id, len(ends))
    now = now_ms()
    done = [
        Outcome(claimed.id, end, 1, now, now)
        for claimed, end in zip(claims.deliveries, ends, strict=True)
        if end is not None
    ]
    with world.database.writing() as db:
        transitions.record(db, claims.id, done, now=now)


def arrays_of(world: World, broadcast_id: str, limit: int = SHOWN) -> Arrays:
    with world.database.reading() as db:
        broadcast = broadcasts.get(db, world.client_id, broadcast_id)
        return reports.arrays(db, [broadcast], limit)[broadcast_id]


def test_recipients_are_shown_by_state_in_the_order_of_to(world: World) -> None:
    people = numbers(8)
    broadcast_id = world.ready(people)
    settle(
        world,
        broadcast_id,
        DeliveryStatus.FAILED,
        DeliveryStatus.READ,
        None,
        DeliveryStatus.SENT,
        DeliveryStatus.UNCERTAIN,
        DeliveryStatus.DELIVERED,
        DeliveryStatus.CANCELLED,
    )
    shown = arrays_of(world, broadcast_id)
    assert shown.sent == [people[1], people[3], people[5]]
    assert shown.pending == [people[2], people[4], people[7]]
    assert shown.failed == [people[0], people[6]]
    assert reports.counts(world.get(broadcast_id)) == {
        "total": 8,
        "pending": 3,
        "sent": 1,
        "delivered": 1,
        "read": 1,
        "failed": 1,
        "cancelled": 1,
        "uncertain": 1,
    }


def test_nobody_is_shown_before_the_rows_are_there(world: World) -> None:
    broadcast_id = world.broadcast(EVERYBODY)
    shown = arrays_of(world, broadcast_id)
    assert (shown.sent, shown.pending, shown.failed) == ([], [], [])
    assert reports.counts(world.get(broadcast_id))["pending"] == 3


def test_each_array_shows_the_first_ones_only(world: World) -> None:
    people = numbers(10)
    broadcast_id = world.ready(people)
    ends = [DeliveryStatus.READ, DeliveryStatus.SENT, DeliveryStatus.DELIVERED] * 2
    settle(world, broadcast_id, *ends)
    shown = arrays_of(world, broadcast_id, limit=4)
    assert shown.sent == people[:4]
    assert shown.pending == people[6:]


# Delete, pause, resume and retry


def act(world: World, verb: str, broadcast_id: str, **more: Any) -> Broadcast:
    with world.database.writing() as db:
        done: Broadcast = getattr(broadcasts, verb)(
            db, world.client_id, broadcast_id, **more, now=now_ms()
        )
        return done


def again(world: World, broadcast_id: str, *statuses: DeliveryStatus) -> Broadcast:
    chosen = statuses or (DeliveryStatus.FAILED,)
    wanted: dict[str, Any] = {"statuses": chosen, "accounts": world.accounts, "now": now_ms()}
    with world.database.writing() as db:
        return broadcasts.retry(db, world.client_id, broadcast_id, **wanted).broadcast


STATES = ("scheduled", "sending", "paused", "cancelled", "completed")


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize(
    ("verb", "allowed", "becomes"),
    [("pause", ("sending",), "paused"), ("resume", ("paused",), "sending")],
)
def test_a_broadcast_is_paused_and_resumed_only_where_that_means_something(
    world: World, status: str, verb: str, allowed: tuple[str, ...], becomes: str
) -> None:
    broadcast_id = world.broadcast([ADA])
    world.tell("UPDATE broadcasts SET status = :status", status=status)
    if status in allowed:
        assert act(world, verb, broadcast_id).status == becomes
        assert world.get(broadcast_id).version == 1
    else:
        with pytest.raises(ConflictError, match=status):
            act(world, verb, broadcast_id)
        assert world.get(broadcast_id).version == 0


@pytest.mark.parametrize("status", STATES)
def test_what_is_unfinished_is_cancelled_when_it_is_deleted(world: World, status: str) -> None:
    broadcast_id = world.broadcast([ADA])
    world.tell("UPDATE broadcasts SET status = :status", status=status)
    deleted = act(world, "delete", broadcast_id)
    assert deleted.id == broadcast_id
    assert deleted.deleted_at is not None
    assert deleted.status == ("completed" if status == "completed" else "cancelled")
    with pytest.raises(NotFoundError):
        act(world, "delete", broadcast_id)


@pytest.mark.parametrize("verb", ["delete", "pause", "resume"])
def test_another_clients_broadcast_is_not_there_to_act_on(world: World, verb: str) -> None:
    theirs = stranger(world).broadcast([ADA])
    with pytest.raises(NotFoundError):
        act(world, verb, theirs)
    with pytest.raises(NotFoundError):
        again(world, theirs)


def test_only_what_failed_is_retried(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    settle(
        world, broadcast_id, DeliveryStatus.FAILED, DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN
    )
    assert world.get(broadcast_id).status == "completed"
    retried = again(world, broadcast_id)
    assert (retried.status, retried.closed_at) == ("sending", None)
    assert [row.status for row in world.deliveries(broadcast_id)] == ["queued", "sent", "uncertain"]
    settle(world, broadcast_id, DeliveryStatus.SENT)
    assert world.get(broadcast_id).status == "completed"
    world.assert_counters_equal_rows([broadcast_id])


def test_a_retry_has_time_to_succeed(world: World) -> None:
    now = now_ms()
    broadcast_id = world.ready([ADA], now=now - 2 * HOUR)
    settle(world, broadcast_id, DeliveryStatus.FAILED)
    world.tell("UPDATE broadcasts SET expires_at = :then", then=now - HOUR)
    assert again(world, broadcast_id).expires_at > now + HOUR - 60_000


def test_a_retry_shortens_no_ones_time(world: World) -> None:
    far = now_ms() + 100 * HOUR
    broadcast_id = world.ready([ADA], expires_at=far)
    settle(world, broadcast_id, DeliveryStatus.FAILED)
    assert again(world, broadcast_id).expires_at == far


def test_a_paused_broadcast_stays_paused_when_it_is_retried(world: World) -> None:
    broadcast_id = world.ready([ADA, GRACE])
    settle(world, broadcast_id, DeliveryStatus.FAILED)
    act(world, "pause", broadcast_id)
    assert again(world, broadcast_id).status == "paused"


def test_a_retry_of_nothing_is_a_conflict(world: World) -> None:
    broadcast_id = world.ready([ADA])
    with pytest.raises(ConflictError):
        again(world, broadcast_id, DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN)
    settle(world, broadcast_id, DeliveryStatus.SENT)
    with pytest.raises(ConflictError):
        again(world, broadcast_id)
    assert world.get(broadcast_id).status == "completed"


def test_who_opted_out_since_is_not_retried(world: World) -> None:
    broadcast_id = world.ready([ADA, GRACE])
    settle(world, broadcast_id, DeliveryStatus.FAILED, DeliveryStatus.FAILED)
    whose = OptOutOwner(world.client_id, world.get(broadcast_id).session_id)
    with world.database.writing() as db:
        opt_outs.add(db, whose, ADA, now=now_ms())
    again(world, broadcast_id)
    assert [each.status for each in world.deliveries(broadcast_id)] == ["failed", "queued"]
    world.assert_counters_equal_rows([broadcast_id])
    with pytest.raises(ConflictError, match="opted out"):
        again(world, broadcast_id)
    with world.database.writing() as db:
        opt_outs.delete(db, whose, ADA)
    again(world, broadcast_id)
    assert world.statuses(broadcast_id) == {"queued": 2}


def test_what_cannot_be_sent_any_more_is_not_retried(world: World) -> None:
    cancelled, orphaned, incomplete = (world.ready([ADA]) for _ in range(3))
    for broadcast_id in (cancelled, orphaned, incomplete):
        settle(world, broadcast_id, DeliveryStatus.FAILED)
    world.tell("UPDATE broadcasts SET status = 'cancelled' WHERE id = :id", id=cancelled)
    world.tell("UPDATE broadcasts SET session_id = NULL WHERE id = :id", id=orphaned)
    with pytest.raises(ConflictError, match="cancelled"):
        again(world, cancelled)
    with pytest.raises(ConflictError, match="session"):
        again(world, orphaned)
    assert again(world, incomplete).status == "sending"


def test_a_broadcast_whose_file_was_deleted_is_not_retried(world: World) -> None:
    attachment_id = attach(world, "JCEVJKGEFKSMR8W", world.client_id)
    broadcast_id = world.ready([ADA], message={"attachments": [attachment_id]})
    settle(world, broadcast_id, DeliveryStatus.FAILED)
    world.tell("DELETE FROM broadcast_attachments")
    with pytest.raises(ConflictError, match="attachment"):
        again(world, broadcast_id)


def test_a_retry_and_a_deletion_at_once_leave_one_of_them_a_conflict(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    settle(world, broadcast_id, *[DeliveryStatus.FAILED] * 3)
    together, refused = threading.Barrier(2), list[ServiceError]()

    def attempt(action: Callable[[], object]) -> None:
        together.wait(60)
        try:
            action()
        except ServiceError as error:
            refused.append(error)

    threads = [
        threading.Thread(target=attempt, args=(lambda: again(world, broadcast_id),)),
        threading.Thread(target=attempt, args=(lambda: act(world, "delete", broadcast_id),)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) <= 1
    broadcast = world.get(broadcast_id)
    is_open = world.statuses(broadcast_id).get("queued", 0) > 0
    assert (broadcast.closed_at is None) == is_open
    world.assert_counters_equal_rows([broadcast_id])


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10),
        "location": st.fixed_dictionaries(
            {
                "lat": st.sampled_from(["6.556452", "-90", "0", 0, 6.5, 1e-7, -0.0]),
                "lng": st.sampled_from(["3.2774487", "180.0", "0", 0, 3.25, 1e-7]),
            },
            optional={"name": st.sampled_from(["optional", ""])},
        ),
    },
)


@given(MESSAGES)
def test_a_message_is_accepted_exactly_where_it_says_something(
    world: World, message: dict[str, Any]
) -> None:
    says_something = bool(str(message.get("text", "")).strip() or message.get("location"))
    if not says_something:
        assert list(errors_of(lambda: world.broadcast([ADA], message=message))) == ["message"]
        return
    broadcast = world.get(world.broadcast([ADA], message=message))
    assert broadcast.message == message
    with world.database.reading() as db:
        content = world.accounts.restored(db.get_one(Broadcast, broadcast.id).content)
    if location := message.get("location"):
        assert content.location is not None
        assert float(content.location.latitude) == float(location["lat"])
        assert float(content.location.longitude) == float(location["lng"])
        assert "e" not in content.location.latitude.lower()
