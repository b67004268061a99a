"""A provider on this machine's disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from service.channels.base import Account, DriverContext
from service.channels.content import (
    ContactCard,
    Content,
    Location,
    Media,
    MediaKind,
    Template,
    Text,
)
from service.channels.drivers import sandbox
from service.channels.drivers.sandbox import Prepared, Sandbox
from service.channels.drivers.sandbox import store as sandbox_store
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.channels.steps import Call, Pause, Step
from tests.channels.conftest import Memory
from tests.channels.conversing import converse

ADA, GRACE = "2348179803743", "2349048988056"
SESSION = "5" * 24
HELLO = Text("Hello")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "sandbox.db"


def opened(
    store: Path,
    session_id: str = SESSION,
    *,
    client_id: str = "acme",
    most: int = 1_000_000,
    **settings: Any,
) -> Sandbox:
    account = Account(session_id, Sandbox.Settings().load(settings), Memory(), client_id)
    return Sandbox(account, DriverContext(store, sandbox_bytes=most))


def send(driver: Sandbox, recipient: str, reference: str = "d.0", part: Any = HELLO) -> str:
    return converse(driver.send(recipient, driver.prepare(part), reference)).result


def received(store: Path, *session_ids: str) -> list[dict[str, Any]]:
    return sandbox.received(store, session_ids or (SESSION,))[1]


def test_what_is_sent_is_kept_with_all_that_was_said(store: Path) -> None:
    message_id = send(opened(store), ADA, "d.3")
    (kept,) = received(store)
    assert (kept["recipient"], kept["reference"], kept["session_id"]) == (ADA, "d.3", SESSION)
    assert (kept["kind"], kept["body"], kept["message_id"]) == (
        "text",
        {"body": "Hello"},
        message_id,
    )


def test_every_message_has_an_id_of_its_own(store: Path) -> None:
    driver = opened(store)
    made = {send(driver, ADA, f"d.{number}") for number in range(100)}
    assert len(made) == 100


def test_a_repeat_under_the_same_reference_is_kept_once(store: Path) -> None:
    driver = opened(store)
    assert converse(driver.may_repeat(Text("Hello"))).result
    assert send(driver, ADA) == send(driver, ADA)
    assert len(received(store)) == 1


def test_a_session_may_have_its_repeats_kept(store: Path) -> None:
    driver = opened(store, idempotent=False)
    assert not converse(driver.may_repeat(Text("Hello"))).result
    assert send(driver, ADA) != send(driver, ADA)
    assert len(received(store)) == 2


def test_threads_and_processes_that_repeat_each_other_leave_one_message(store: Path) -> None:
    driver = opened(store)
    script = (
        "import sys; from pathlib import Path;"
        "from tests.channels.test_sandbox import opened, send;"
        "driver = opened(Path(sys.argv[1]));"
        "[send(driver, '2348179803743', f'd.{n}') for n in range(50)]"
    )
    command = [sys.executable, "-c", script, str(store)]
    root = Path(__file__).parent.parent.parent
    others = [subprocess.Popen(command, cwd=root) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda: [send(driver, ADA, f"d.{n}") for n in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert sorted(each["reference"] for each in received(store)) == sorted(
        f"d.{number}" for number in range(50)
    )


def test_sessions_share_a_store_and_see_their_own(store: Path) -> None:
    other = "6" * 24
    send(opened(store), ADA, "a.0")
    send(opened(store, other), GRACE, "b.0")
    assert [each["recipient"] for each in received(store)] == [ADA]
    assert [each["recipient"] for each in received(store, SESSION, other)] == [ADA, GRACE]


def test_what_was_received_is_counted_and_paged_from_the_oldest(store: Path) -> None:
    driver = opened(store)
    for number in range(5):
        send(driver, ADA, f"d.{number}")
    total, page = sandbox.received(store, [SESSION], offset=1, limit=2)
    assert total == 5
    assert [each["reference"] for each in page] == ["d.1", "d.2"]


def test_nothing_was_received_where_nothing_was_sent(store: Path) -> None:
    assert sandbox.received(store, [SESSION]) == (0, [])
    send(opened(store), ADA)
    assert sandbox.received(store, []) == (0, [])


def test_nothing_was_received_where_the_store_is_just_being_made(tmp_path: Path) -> None:
    store = tmp_path / "sandbox.db"
    store.touch()
    assert sandbox.received(store, [SESSION]) == (0, [])


def test_a_message_is_cut_into_parts_in_the_order_of_the_guide(store: Path, tmp_path: Path) -> None:
    picture = Media(
        attachment_id="a" * 24,
        kind=MediaKind.IMAGE,
        mimetype="image/jpeg",
        filename="cake.jpeg",
        path=tmp_path / "cake.jpeg",
        size=7,
        url="https://crier.example/cake.jpeg",
    )
    place, card = Location("6.5", "3.2"), ContactCard("Ada", "BEGIN:VCARD")
    content = Content("Hello", (picture, picture), place, card, Template("sale", "en"))
    driver = opened(store)
    parts = driver.plan(content)
    assert parts == (HELLO, picture, picture, place, card, Template("sale", "en"))
    for number, part in enumerate(parts):
        send(driver, ADA, f"d.{number}", part)
    kinds = [each["kind"] for each in received(store)]
    assert kinds == ["text", "media", "media", "location", "contactcard", "template"]
    assert received(store)[1]["body"]["filename"] == "cake.jpeg"
    assert "path" not in received(store)[1]["body"]


def test_it_can_always_send_and_reaches_groups(store: Path) -> None:
    driver = opened(store)
    assert converse(driver.check()).error is None
    assert driver.reaches_groups
    assert send(driver, "120363025246125486@g.us")


def test_only_the_store_itself_must_not_be_told_twice(store: Path) -> None:
    """What is left of a conversation that may not go on has been kept nowhere."""
    sending = opened(store, latency=0.1).send(sandbox.SLOW, Prepared("text", "{}"), "d.0")
    steps: list[Step] = [next(sending)]
    while not steps[-1].once:
        step = steps[-1]
        steps.append(sending.send(step.function() if isinstance(step, Call) else None))
    assert [type(step) for step in steps] == [Call, Pause, Call]
    assert received(store) == []


# What it keeps


def bodies(store: Path) -> list[int]:
    """Return how long each body is that the store has."""
    with closing(sqlite3.connect(store)) as connection:
        return [size for (size,) in connection.execute("SELECT length(body) FROM bodies")]


def used(store: Path) -> dict[str, int]:
    with closing(sqlite3.connect(store)) as connection:
        return dict(connection.execute("SELECT client_id, bytes FROM clients").fetchall())


def test_what_everybody_gets_is_kept_once(store: Path) -> None:
    driver, long = opened(store), Text("\N{GRINNING FACE}" * 4_096)
    for number in range(300):
        send(driver, ADA, f"d{number}.0", long)
    assert len(received(store)) == 300
    assert bodies(store) == [len(driver.prepare(long).body)]
    assert store.stat().st_size < 1_000_000


def test_the_oldest_of_a_client_go_and_nothing_of_another(store: Path) -> None:
    send(opened(store, "6" * 24, client_id="globex"), GRACE, "g.0")
    driver = opened(store, most=300_000)
    for number in range(900):
        send(driver, ADA, f"d{number}.0", Text(f"{number} " * 40))
    kept = [each["reference"] for each in received(store)]
    assert kept == [f"d{number}.0" for number in range(900 - len(kept), 900)]
    assert 300 <= len(kept) <= 450
    assert 200_000 <= used(store)["acme"] <= 300_000
    assert len(bodies(store)) == len(kept) + 1
    assert len(received(store, "6" * 24)) == 1


def test_old_messages_are_forgotten_with_their_bodies_in_steps(store: Path) -> None:
    driver = opened(store)
    for number in range(7):
        send(driver, ADA, f"d{number}.0", Text(f"{number}"))
    last = received(store)[5]["received_at"]
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE messages SET received_at = received_at + 9 WHERE number = 7")
    assert sandbox.extent(store, last + 1) == 6
    assert [sandbox.forget(store, last + 1, 4) for _ in range(3)] == [4, 2, 0]
    assert [each["reference"] for each in received(store)] == ["d6.0"]
    assert len(bodies(store)) == 1
    sandbox.forget(store, last + 100, 4)
    assert used(store) == {"acme": 0}


def test_a_store_that_is_not_there_is_not_made_to_be_purged(store: Path) -> None:
    assert (sandbox.extent(store, 10**15), sandbox.forget(store, 10**15, 4)) == (0, 0)
    assert not store.exists()


def test_attempts_of_long_ago_are_not_counted_for_ever(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_store, "_TRIMMED_EVERY", 10)
    monkeypatch.setattr(sandbox_store, "MOST_OFFERS", 20)
    driver = opened(store)
    for number in range(50):
        with pytest.raises(RetryableError):
            send(driver, sandbox.RETRIED, f"d{number}.0")
    with closing(sqlite3.connect(store)) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM attempts")
    assert count == 20
    assert send(driver, sandbox.RETRIED, "d49.0")


def test_a_store_of_the_first_version_is_taken_over(store: Path) -> None:
    store.parent.mkdir()
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.executescript(FIRST_VERSION)
        for number in range(3):
            row = (f"d{number}.0", SESSION, ADA, "text", '{"body": "Hello"}', f"m{number}", 5)
            connection.execute(
                "INSERT INTO messages (reference, session_id, recipient, kind, body, message_id,"
                " received_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
    driver = opened(store)
    assert send(driver, ADA, "d1.0") == "m1"
    assert [each["body"] for each in received(store)] == [{"body": "Hello"}] * 3
    assert bodies(store) == [17]
    assert send(driver, ADA, "d3.0")
    assert sandbox.forget(store, 6, 10) == 3
    assert used(store)[""] == 0


FIRST_VERSION = """
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, session_id TEXT NOT NULL,
        recipient TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
        message_id TEXT NOT NULL, received_at INTEGER NOT NULL);
    CREATE INDEX messages_by_reference ON messages (reference);
    CREATE INDEX messages_by_session ON messages (session_id, number);
    CREATE TABLE offers (
        reference TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""


# The magic recipients


def attempts(driver: Sandbox, recipient: str, count: int = 3) -> list[SendError | str]:
    """Offer the same part several times, as retries do; return what each attempt said."""
    said: list[SendError | str] = []
    for _ in range(count):
        try:
            said.append(send(driver, recipient))
        except SendError as error:
            said.append(error)
    return said


def test_the_unreachable_one_fails_for_good(store: Path) -> None:
    said = attempts(opened(store), sandbox.UNREACHABLE)
    assert [type(each) for each in said] == [PermanentError] * 3
    assert received(store) == []


def test_the_retried_one_fails_once(store: Path) -> None:
    said = attempts(opened(store), sandbox.RETRIED)
    assert [type(each) for each in said] == [RetryableError, str, str]
    assert len(received(store)) == 1


def test_the_throttled_one_names_a_wait_once(store: Path) -> None:
    first, *others = attempts(opened(store), sandbox.THROTTLED)
    assert isinstance(first, RetryableError)
    assert first.wait == 3.0
    assert [type(each) for each in others] == [str, str]


def test_the_uncertain_one_has_the_message_though_the_first_answer_is_lost(store: Path) -> None:
    driver = opened(store)
    said = attempts(driver, sandbox.UNCERTAIN, 1)
    assert [type(each) for each in said] == [UncertainError]
    assert len(received(store)) == 1
    (message_id,) = attempts(driver, sandbox.UNCERTAIN, 1)
    assert message_id == received(store)[0]["message_id"]


def test_the_slow_one_is_slow_once(store: Path) -> None:
    driver = opened(store)
    prepared = driver.prepare(HELLO)
    held = [converse(driver.send(sandbox.SLOW, prepared, "d.0")) for _ in range(3)]
    assert len({each.result for each in held}) == 1
    assert [each.pauses for each in held] == [[sandbox.SLOWNESS], [], []]


def test_the_flaky_one_fails_at_every_attempt(store: Path) -> None:
    said = attempts(opened(store), sandbox.FLAKY, 5)
    assert [type(each) for each in said] == [RetryableError] * 5
    assert received(store) == []


def test_a_magic_recipient_begins_anew_with_every_delivery_but_not_with_every_part(
    store: Path,
) -> None:
    driver = opened(store)
    for delivery in ("one", "other"):
        with pytest.raises(RetryableError):
            send(driver, sandbox.RETRIED, f"{delivery}.0")
        assert send(driver, sandbox.RETRIED, f"{delivery}.0")
        assert send(driver, sandbox.RETRIED, f"{delivery}.1")


def test_magic_recipients_are_numbers_that_nobody_has() -> None:
    assert all("12025550100" <= number <= "12025550199" for number in sandbox.MAGIC)
    assert all(sandbox.MAGIC.values())


# Settings and failures


def test_every_message_takes_as_long_as_the_session_says(store: Path) -> None:
    driver = opened(store, latency=0.25)
    prepared = driver.prepare(HELLO)
    held = [converse(driver.send(ADA, prepared, f"d.{number}")) for number in range(2)]
    assert [each.pauses for each in held] == [[0.25], [0.25]]


@pytest.mark.parametrize("settings", [{"latency": -1}, {"latency": 61}, {"colour": "red"}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sandbox.Settings().load(settings)


def test_a_store_that_cannot_be_written_blocks_the_account_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlockedError) as caught:
        send(opened(tmp_path / "file" / "sandbox.db"), ADA)
    assert caught.value.wait
