"""Usages: what is added up is what there is, and a refusal stores nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, update

from service.app import Application
from service.core import clients, retention, usages
from service.core.limits import DAY, Limit
from service.database import now_ms
from service.errors import LimitError, RateLimitError
from service.models import Attachment, Broadcast, Client, Contact, Usage
from tests.conftest import Tenant, on_sqlite

ADA = "12025552001"
MIDNIGHT = 20_000 * DAY
ORDER = {"send_type": "individual", "to": [ADA, "12025552002"], "message": {"text": "Hello"}}
CSV = "Phone,Name,City\n+12025552001,Ada,Lagos\n+12025552009,Grace Höpper,Köln\n"


def usage(tenant: Tenant) -> Usage:
    with tenant.crier.database.reading() as db:
        return db.get_one(Usage, tenant.id)


def limit(tenant: Tenant, **changes: int | None) -> None:
    with tenant.crier.database.writing() as db:
        name = db.get_one(Client, tenant.id).name
        clients.limit(db, name, {Limit(each): most for each, most in changes.items()})


def counted(tenant: Tenant) -> tuple[int, int]:
    """Count the contacts and the bytes that there are."""
    with tenant.crier.database.reading() as db:
        rows = db.scalars(select(Contact).where(Contact.client_id == tenant.id)).all()
        names = ("name", "organisation", "channel", "phones", "emails", "fields", "tags")
        size = sum(usages.size_of({each: getattr(row, each) for each in names}) for row in rows)
        for column, table in ((Attachment.size, Attachment), (Broadcast.bytes, Broadcast)):
            mine = select(func.coalesce(func.sum(column), 0)).where(table.client_id == tenant.id)
            size += int(db.scalar(mine) or 0)
    return len(rows), size


def test_the_sums_are_those_of_the_rows_whatever_a_client_does(acme: Tenant) -> None:
    def check() -> None:
        found = usage(acme)
        assert (found.contacts, found.bytes) == counted(acme)

    acme.make("/session", name="main", channel="sandbox")
    made = acme.make("/contact", name="Ada Òbi", phones=[ADA], tags=["a"], fields={"City": "Lagos"})
    path = f"/contact/{made['_id']}"
    check()
    edits: list[dict[str, Any]] = [{"name": "Grace"}, {"organisation": "Acme"}, {"tags": []}]
    for edit in (*edits, {"phones": [ADA, "12025552003"]}):
        assert acme.put(path, json=edit).status_code == 200
        check()
    parts = {"contacts": (io.BytesIO(CSV.encode()), "people.csv")}
    answer = acme.post("/contact/import", data=parts, content_type="multipart/form-data")
    assert (answer.json["data"]["new"], answer.json["data"]["changed"]) == (1, 1)
    check()
    file = acme.post("/attachment", data={"file": (io.BytesIO(b"Hello"), "a.txt")}).json["data"]
    check()
    order = {**ORDER, "send_at": "2998-01-01T00:00:00Z", "expires_at": "2998-01-02T00:00:00Z"}
    broadcast = acme.make("/broadcast", **order)["_id"]
    check()
    changes: list[dict[str, Any]] = [
        {"message": {"text": "Hello again"}},
        {"to": [ADA]},
        {"to": [{"to": ADA, "variables": {"name": "Ada"}}], "message": {"text": "{{name}}"}},
    ]
    for each in changes:
        assert acme.put(f"/broadcast/{broadcast}", json=each).status_code == 200
        check()
    for gone in (f"/attachment/{file['_id']}", path, f"/broadcast/{broadcast}"):
        assert acme.delete(gone).status_code == 200
        check()
    assert usage(acme).recipients == 2


def test_a_purge_makes_room(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    acme.make("/broadcast", **ORDER)
    assert usage(acme).bytes > 0
    with acme.crier.database.writing() as db:
        db.execute(update(Broadcast).values(closed_at=1, deleted_at=1))
        ids = db.scalars(select(Broadcast.id)).all()
        retention.forget(db, ids, before=2, limit=100)
    assert usage(acme).bytes == 0


def test_a_change_of_a_long_list_that_only_shows_its_beginning_keeps_its_size(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    people = [str(12025552000 + number) for number in range(1_200)]
    order = {**ORDER, "send_at": "2998-01-01T00:00:00Z", "expires_at": "2998-01-02T00:00:00Z"}
    made = acme.make("/broadcast", **{**order, "to": people})
    before = usage(acme).bytes
    answer = acme.put(f"/broadcast/{made['_id']}", json={"message": {"text": "Hello!"}})
    assert answer.status_code == 200
    assert usage(acme).bytes == before + 1


def test_a_refusal_says_which_limit_what_is_used_and_what_to_do(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    limit(acme, sessions=1)
    answer = acme.post("/session", json={"name": "second", "channel": "sandbox"})
    assert answer.status_code == 409
    sentence = (
        "The limit is 1 sessions. You have 1, and this adds 1. Delete some, or ask the operator for"
        " a higher limit."
    )
    assert answer.json["message"] == sentence
    assert answer.json["errors"] == {"sessions": [sentence]}
    assert len(acme.get("/session").json["data"]) == 1


def test_a_refused_import_stores_no_row(acme: Tenant) -> None:
    acme.make("/contact", name="Ada", phones=[ADA])
    limit(acme, contacts=1)
    parts = {"contacts": (io.BytesIO(CSV.encode()), "people.csv")}
    answer = acme.post("/contact/import", data=parts, content_type="multipart/form-data")
    assert answer.status_code == 409
    assert [each["name"] for each in acme.get("/contact").json["data"]] == ["Ada"]


def test_a_refused_upload_leaves_no_file(acme: Tenant) -> None:
    limit(acme, bytes=4)
    answer = acme.post("/attachment", data={"file": (io.BytesIO(b"Hello"), "a.txt")})
    assert answer.status_code == 413
    assert "You store 0, and this adds 5." in answer.json["message"]
    folder = acme.crier.settings.attachments_dir
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_recipients_count_until_midnight_in_utc_by_any_clock(acme: Tenant) -> None:
    limit(acme, recipients=10)

    def use(amount: int, now: int) -> None:
        with acme.crier.database.writing() as db:
            usages.note(db, acme.id, now=now, recipients=amount)

    use(10, MIDNIGHT - 2_000)
    with pytest.raises(RateLimitError) as refused:
        use(1, MIDNIGHT - 1_500)
    assert refused.value.headers == {
        "Retry-After": "2",
        "RateLimit-Policy": '"recipients";q=10;w=86400',
        "RateLimit": '"recipients";r=0;t=2',
    }
    use(9, MIDNIGHT)
    # A machine whose clock is late still counts what the new day has used.
    with pytest.raises(RateLimitError):
        use(2, MIDNIGHT - 1)
    use(1, MIDNIGHT - 1)
    with pytest.raises(RateLimitError):
        use(1, MIDNIGHT + 1)
    # A clock that was a year ahead and is set right again does not block the client for a year.
    use(10, MIDNIGHT + 365 * DAY)
    use(10, MIDNIGHT + 1)


def test_a_broadcast_to_more_people_than_a_day_allows_is_too_large(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    limit(acme, recipients=1)
    answer = acme.post("/broadcast", json=ORDER)
    assert answer.status_code == 413
    assert "Send it in parts on several days" in answer.json["message"]
    assert acme.get("/broadcast").json["data"] == []


def test_a_dry_run_of_many_says_what_would_be_refused(acme: Tenant) -> None:
    settings = acme.crier.settings
    many = settings.limit_recipients + 1
    with acme.crier.database.reading() as db, pytest.raises(LimitError):
        usages.foresee(db, acme.id, settings, now=now_ms(), recipients=many)


def test_a_limit_below_what_is_used_deletes_nothing_and_lets_go(acme: Tenant) -> None:
    first, second = (acme.make("/contact", name=name, phones=[ADA])["_id"] for name in "ab")
    limit(acme, contacts=1, bytes=1)
    assert acme.put(f"/contact/{first}", json={"name": "c"}).status_code == 200
    assert acme.put(f"/contact/{first}", json={"name": "longer"}).status_code == 413
    for each in (first, second):
        assert acme.delete(f"/contact/{each}").status_code == 200
    assert usage(acme).contacts == 0


@on_sqlite
def test_requests_are_counted_and_told(make_app: Callable[..., Application]) -> None:
    acme = Tenant(make_app(limit_requests=1, limit_burst=3), "Acme")
    told = [acme.get("/contact") for _ in range(4)]
    assert [each.status_code for each in told] == [200, 200, 200, 429]
    assert told[0].headers["RateLimit"] == '"requests";r=2'
    assert told[0].headers["RateLimit-Policy"] == '"requests";q=3;w=3'
    assert told[3].headers["RateLimit"] == '"requests";r=0;t=1'
    assert told[3].headers["Retry-After"] == "1"
    assert told[3].json["message"].startswith("The limit is 3 requests at once and 1 a second.")
    limit(acme, burst=1_000, requests=1_000)
    assert acme.get("/contact").status_code == 200


@on_sqlite
def test_a_client_reads_its_limits_and_what_it_uses(acme: Tenant, globex: Tenant) -> None:
    acme.make("/contact", name="Ada", phones=[ADA])
    limit(acme, sessions=7, requests=1)
    globex.make("/contact", name="Ada", phones=[ADA])
    answer = acme.get("/client").json["data"]
    assert answer["_id"] == acme.id
    assert set(answer["limits"]) == {str(each) for each in Limit}
    assert answer["limits"]["contacts"] == {"limit": 1_000_000, "used": 1}
    assert answer["limits"]["sessions"] == {"limit": 7, "used": 0}
    assert answer["limits"]["tokens"] == {"limit": 100, "used": 1}
    assert answer["limits"]["burst"] == {"limit": 1_000, "used": 1}
