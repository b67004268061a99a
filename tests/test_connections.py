"""How long a thread of gunicorn waits for a client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import NamedTuple

import pytest

from service import connections
from service.connections import Connection, GivenUpError, StoppingError, WaitLimits, WaitMeter

LARGE = b"x" * 8 * 1024 * 1024
BRIEF = WaitLimits(silence=0.01, total=60.0, at_stop=60.0)
SPENT = WaitLimits(silence=60.0, total=0.01, at_stop=60.0)
LIMITS = WaitLimits(silence=60.0, total=60.0, at_stop=0.01)


class Pair(NamedTuple):
    """Both ends of a connection, and what tells ours that the process stops."""

    ours: Connection
    theirs: socket.socket
    stopping: threading.Event


@pytest.fixture
def pair() -> Iterator[Pair]:
    stopping = threading.Event()
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(Connection(ours.detach(), stopping.is_set)) as connection:
        yield Pair(connection, theirs, stopping)


@pytest.mark.parametrize("limits", [BRIEF, SPENT])
def test_a_client_that_sends_nothing_is_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, limits: WaitLimits
) -> None:
    monkeypatch.setattr(connections, "RECEIVING", limits)
    pair.ours.begin()
    pair.theirs.sendall(b"G")
    assert pair.ours.recv(2) == b"G"
    with pytest.raises(GivenUpError):
        pair.ours.recv(1)


def test_a_client_that_has_sent_nothing_until_the_process_stops_is_given_up_soon(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "RECEIVING", LIMITS)
    pair.ours.begin()
    raised: list[type[Exception]] = []

    def receive() -> None:
        try:
            pair.ours.recv(1)
        except StoppingError as error:
            raised.append(type(error))

    thread = threading.Thread(target=receive)
    thread.start()
    pair.stopping.set()
    thread.join()
    assert raised == [StoppingError]


def test_what_has_come_is_taken_while_the_process_stops(pair: Pair) -> None:
    pair.stopping.set()
    pair.theirs.sendall(b"GET")
    assert pair.ours.recv(3) == b"GET"


def test_bytes_that_come_one_by_one_use_up_the_time_and_many_do_not() -> None:
    slow, steady = WaitMeter(LIMITS), WaitMeter(LIMITS)
    for _ in range(10):
        slow.spend(29)
        slow.earn(1)
        steady.spend(29)
        steady.earn(29 * connections.SLOWEST)
    assert slow.left(is_stopping=False) < 0
    assert steady.left(is_stopping=False) == LIMITS.total
    assert steady.left(is_stopping=True) == LIMITS.at_stop


@pytest.mark.parametrize("limits", [BRIEF, SPENT, LIMITS])
def test_a_client_that_does_not_read_its_answer_is_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, limits: WaitLimits
) -> None:
    monkeypatch.setattr(connections, "SENDING", limits)
    pair.ours.begin()
    if limits is LIMITS:
        pair.stopping.set()
    with pytest.raises(BrokenPipeError):
        pair.ours.sendall(LARGE)


@pytest.mark.parametrize("is_file", [False, True])
def test_a_client_that_reads_gets_all_of_a_long_answer(pair: Pair, *, is_file: bool) -> None:
    def send() -> None:
        if is_file:
            assert pair.ours.sendfile(BytesIO(b"a" + LARGE), 1, len(LARGE)) == len(LARGE)
        else:
            pair.ours.sendall(LARGE)

    thread = threading.Thread(target=send)
    thread.start()
    got = b""
    while len(got) < len(LARGE):
        got += pair.theirs.recv(1 << 20)
    thread.join()
    assert got == LARGE


def test_an_empty_file_is_sent_as_nothing(pair: Pair) -> None:
    assert pair.ours.sendfile(BytesIO(b"")) == 0
