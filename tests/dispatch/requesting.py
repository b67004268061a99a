"""A client that asks for anything in any order while several dispatchers send for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from service.core import broadcasts
from service.database import now_ms
from service.errors import ConflictError
from tests.dispatch.test_dispatcher import QUICK
from tests.examples import made_up
from tests.waiting import until
from tests.world import World


class Requesting(RuleBasedStateMachine):
    """The requests that every broadcast takes."""

    def __init__(self, world: World, broadcast_id: str) -> None:
        super().__init__()
        self.world = world
        self.id = broadcast_id

    def ask(self, verb: str, *more: object, **options: object) -> None:
        """Ask for what may be refused in the state that the broadcast happens to be in."""
        try:
            with self.world.database.writing() as db:
                getattr(broadcasts, verb)(
                    db, self.world.client_id, self.id, *more, now=now_ms(), **options
                )
        except ConflictError:
            pass

    @rule()
    def pause(self) -> None:
        self.ask("pause")

    @rule()
    def resume(self) -> None:
        self.ask("resume")

    @rule(share=st.integers(1, 4))
    def let_it_send(self, share: int) -> None:
        """Wait for some progress, where there will be any: what goes on later has moved, too."""

        def has_moved() -> bool:
            row, counts = self.world.get(self.id), self.world.statuses(self.id)
            moved = sum(counts.values()) - counts.get("queued", 0) - counts.get("sending", 0)
            return row.status != "sending" or moved * 4 >= row.total * share

        until(has_moved)


@contextmanager
def sending(world: World) -> Iterator[World]:
    """Give a world with small chunks, for which three dispatchers send."""
    dispatchers = [world.dispatcher(**QUICK, claim_batch=8) for _ in range(3)]
    for dispatcher in dispatchers:
        dispatcher.start()
    try:
        yield world.with_settings(fanout_chunk=16)
    finally:
        for dispatcher in dispatchers:
            dispatcher.stop(60)


def ask_anything(machine: Callable[[], Requesting], *, steps: int) -> None:
    """Have a client ask for so many things, with a broadcast of its own in each of three runs."""
    run_state_machine_as_test(cast("type[Requesting]", machine), settings=made_up(3, steps=steps))
