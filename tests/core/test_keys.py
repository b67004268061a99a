"""Which keys encrypted whose secrets, and encrypting them anew."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from cryptography.fernet import Fernet

from service.core import keys, sessions
from service.core.accounts import Accounts
from service.core.keys import LOST, UndecryptableSessions, WrongKeyError
from service.core.vault import Vault
from service.dispatch.sending.uploads import StoredMediaIds
from service.errors import InvalidError
from tests.world import World

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRETS = {"base_url": "https://waha.example", "api_key": "waha-key", "webhook_key": "hook-key"}


def using(world: World, *given: str) -> World:
    """Return the same world as a process with these keys sees it."""
    other = world.with_settings(secret_key=",".join(given))
    other.vault = Vault(other.settings)
    media = partial(StoredMediaIds, world.database)
    other.accounts = Accounts(other.settings, other.vault, media)
    return other


def phone(world: World) -> str:
    return world.session("waha", settings=SECRETS)


def unopened(world: World) -> UndecryptableSessions | None:
    with world.database.reading() as db:
        return keys.unopened(db, world.vault)


def closed(world: World) -> list[str]:
    found = unopened(world)
    return [id_ for id_, _ in found.sessions] if found else []


def opened(world: World, session_id: str) -> str:
    return str(world.accounts.settings_of(world.get_session(session_id))["api_key"])


def change(world: World, session_id: str, **settings: str) -> None:
    fields = {"settings": {"base_url": SECRETS["base_url"], **settings}}
    with world.database.writing() as db:
        sessions.update(
            db,
            world.client_id,
            session_id,
            fields,
            channels=world.accounts.channels,
            vault=world.vault,
        )


def renew(world: World) -> int:
    with world.database.writing() as db:
        return keys.renew(db, world.vault, after="").renewed


def test_a_process_with_all_keys_misses_none(world: World) -> None:
    assert unopened(world) is None
    phone(world)
    assert unopened(world) is None
    phone(using(world, NEW, (world.settings.data_dir / "secret.key").read_text()))
    assert unopened(world) is not None


def test_sessions_are_named_whose_key_was_dropped(world: World) -> None:
    before = phone(using(world, OLD))
    rotated = phone(using(world, NEW, OLD))
    world.session()  # A sandbox session has no secrets.
    assert closed(using(world, NEW, OLD)) == []
    found = unopened(using(world, NEW))
    assert found == UndecryptableSessions(
        [(before, world.get_session(before).name)], is_foreign=False
    )
    assert closed(using(world, OLD)) == [rotated]
    assert closed(using(world, OTHER)) == [before, rotated]


def test_a_sentence_names_a_few_sessions_and_counts_the_others() -> None:
    found = UndecryptableSessions(
        [(f"id-{each}", f"name-{each}") for each in range(7)], is_foreign=False
    )
    assert "name-0 (id-0), name-1 (id-1)" in found.sentence()
    assert "name-4 (id-4), 2 more." in found.sentence()
    assert "name" not in found.sentence(with_names=False)
    assert "sends nothing" not in found.sentence()
    assert "sends nothing" in found._replace(is_foreign=True).sentence()


def test_a_process_with_another_key_stores_no_secrets_beside_those_of_others(world: World) -> None:
    made = phone(using(world, OLD))
    stranger = using(world, OTHER)
    assert unopened(stranger) == UndecryptableSessions(
        [(made, world.get_session(made).name)], is_foreign=True
    )
    with pytest.raises(WrongKeyError):
        phone(stranger)
    stranger.session()
    assert opened(using(world, OTHER, OLD), phone(using(world, OTHER, OLD))) == "waha-key"


def test_an_empty_setting_makes_no_second_key_beside_that_of_others(world: World) -> None:
    phone(using(world, OLD))
    with pytest.raises(WrongKeyError):
        phone(using(world))
    assert not (world.settings.data_dir / "secret.key").exists()


def test_secrets_of_a_version_without_marks_are_tried_and_then_marked(world: World) -> None:
    mine, others = phone(using(world, OLD)), phone(using(world, NEW, OLD))
    world.tell("UPDATE sessions SET sealed_by = NULL")
    assert closed(using(world, OLD)) == [others]
    with world.database.writing() as db:
        keys.adopt(db, using(world, OLD).vault)
    assert world.get_session(mine).sealed_by == using(world, OLD).vault.marks[0]
    assert world.get_session(others).sealed_by is None
    assert (closed(using(world, OLD)), closed(using(world, OTHER))) == ([others], [mine, others])


def test_after_a_rotation_the_first_key_opens_everything(world: World) -> None:
    made = [phone(using(world, OLD)) for _ in range(3)]
    before = [world.get_session(each) for each in made]
    rotating = using(world, NEW, OLD)
    assert (renew(rotating), renew(rotating)) == (3, 0)
    assert [opened(using(world, NEW), each) for each in made] == ["waha-key"] * 3
    for was, is_ in zip(before, map(world.get_session, made), strict=True):
        # A client that has read a session may go on to change it.
        assert (is_.version, is_.updated_at) == (was.version, was.updated_at)


def test_a_rotation_goes_through_the_sessions_in_small_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_BATCH", 2)
    made = [phone(using(world, OLD)) for _ in range(3)]
    rotating = using(world, NEW, OLD)
    with world.database.writing() as db:
        first = keys.renew(db, rotating.vault, after="")
        assert first == (2, made[1])
        assert keys.renew(db, rotating.vault, after=made[1]) == (1, made[2])
        assert keys.renew(db, rotating.vault, after=made[2]) == (0, None)


def test_what_cannot_be_opened_stays_as_it_is_in_a_rotation(world: World) -> None:
    lost = phone(using(world, OTHER))
    made = phone(using(world, OLD, OTHER))
    assert renew(using(world, NEW, OLD)) == 1
    assert opened(using(world, NEW), made) == opened(using(world, OTHER), lost) == "waha-key"


def test_a_rotation_beside_processes_that_change_sessions_loses_nothing(world: World) -> None:
    made = [phone(using(world, OLD)) for _ in range(4)]
    running, rotating = using(world, OLD, NEW), using(world, NEW, OLD)

    def write(session_id: str) -> None:
        for number in range(10):
            change(running, session_id, api_key=f"{session_id}-{number}")

    writers = [threading.Thread(target=write, args=[each]) for each in made]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        renew(rotating)
    renew(rotating)
    assert [opened(using(world, NEW), each) for each in made] == [f"{each}-9" for each in made]


def test_a_lost_key_is_given_up_and_its_sessions_get_new_secrets(world: World) -> None:
    lost = phone(using(world, OLD))
    found = using(world, NEW)
    with world.database.writing() as db:
        assert [id_ for id_, _ in keys.forget(db, found.vault)] == [lost]
        assert keys.forget(db, found.vault) == ()
    assert (unopened(found), world.get_session(lost).sealed_by) == (None, LOST)
    assert not keys.can_open(world.get_session(lost), found.vault)
    with pytest.raises(InvalidError) as refusal:
        change(found, lost, api_key="another")
    assert list(refusal.value.errors) == ["settings.webhook_key"]
    change(found, lost, api_key="another", webhook_key="another")
    assert opened(found, lost) == "another"


def test_a_key_that_turns_up_again_is_used_again(world: World) -> None:
    lost = phone(using(world, OLD))
    with world.database.writing() as db:
        keys.forget(db, using(world, NEW).vault)
    assert renew(using(world, NEW, OLD)) == 1
    assert keys.can_open(world.get_session(lost), using(world, NEW).vault)


def test_a_mark_tells_keys_apart_and_is_the_same_for_all_processes(world: World) -> None:
    marks = using(world, OLD, NEW).vault.marks
    assert marks == (*using(world, OLD).vault.marks, *using(world, NEW).vault.marks)
    assert len({*marks}) == 2
    assert not any(mark in key for mark in marks for key in (OLD, NEW))
