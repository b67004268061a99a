"""What a process had under way when it died."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest

from service.dispatch.sending import ledger as module
from service.dispatch.sending.ledger import Ledger, forget, kept
from tests.waiting import LIMIT

ROOT = Path(__file__).parents[3]
PROCESS, CLAIM = "d" * 24, 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledgers"


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    ledger = Ledger(folder, 100)
    ledger.open(PROCESS)
    return ledger


_firsts = count(1)


def deliveries(number: int) -> list[str]:
    first = next(_firsts)
    return [f"{first:018x}{each:06x}" for each in range(number)]


def under_way(folder: Path, dispatcher_id: str) -> set[str] | None:
    """Read a ledger as it would be if its process died now: without the lock."""
    path, dead = folder / dispatcher_id, folder.parent / "dead"
    dead.mkdir(exist_ok=True)
    (dead / dispatcher_id).unlink(missing_ok=True)
    if path.exists():
        shutil.copy(path, dead)
    return module.under_way(dead, dispatcher_id)


def mark(ledger: Ledger, delivery_ids: Iterable[str], claim: int = CLAIM) -> list[bool]:
    return [ledger.mark((each, claim)) for each in delivery_ids]


def erase(ledger: Ledger, delivery_ids: Iterable[str], claim: int = CLAIM) -> None:
    ledger.erase([(each, claim) for each in delivery_ids])


def test_what_is_under_way_stands_in_it(ledger: Ledger, folder: Path) -> None:
    marked = deliveries(10)
    assert all(mark(ledger, marked))
    assert under_way(folder, PROCESS) == set(marked)
    erase(ledger, marked[3:])
    assert under_way(folder, PROCESS) == set(marked[:3])


def test_a_delivery_of_several_messages_stands_in_it_once(ledger: Ledger, folder: Path) -> None:
    (delivery,) = deliveries(1)
    assert mark(ledger, [delivery, delivery]) == [True, True]
    erase(ledger, [delivery])
    assert under_way(folder, PROCESS) == set()


def test_a_delivery_that_was_claimed_anew_stays_when_the_old_claim_is_over(
    ledger: Ledger, folder: Path
) -> None:
    (delivery,) = deliveries(1)
    mark(ledger, [delivery], 1)
    mark(ledger, [delivery], 2)
    erase(ledger, [delivery], 1)
    assert under_way(folder, PROCESS) == {delivery}
    erase(ledger, [delivery], 2)
    assert under_way(folder, PROCESS) == set()


def test_what_never_stood_in_it_is_erased_without_harm(ledger: Ledger, folder: Path) -> None:
    marked, others = deliveries(3), deliveries(3)
    mark(ledger, marked)
    erase(ledger, others)
    assert under_way(folder, PROCESS) == set(marked)


def test_a_full_ledger_says_so_until_something_is_erased(ledger: Ledger, folder: Path) -> None:
    marked, (late,) = deliveries(100), deliveries(1)
    assert all(mark(ledger, marked))
    assert mark(ledger, [late]) == [False]
    erase(ledger, marked[:1])
    assert mark(ledger, [late]) == [True]
    assert under_way(folder, PROCESS) == {late, *marked[1:]}


def test_a_process_that_goes_on_under_a_new_id_is_found_under_both(
    ledger: Ledger, folder: Path
) -> None:
    before, after = deliveries(2), deliveries(2)
    mark(ledger, before)
    ledger.open("e" * 24)
    mark(ledger, after)
    assert under_way(folder, PROCESS) == under_way(folder, "e" * 24) == {*before, *after}
    erase(ledger, before)
    assert under_way(folder, "e" * 24) == set(after)


def test_the_ledger_of_a_process_that_lives_is_not_removed(ledger: Ledger, folder: Path) -> None:
    """Taken for dead, it has its file under the next id as well, and the one after that."""
    forget(folder, PROCESS)
    ledger.open("e" * 24)
    ledger.open("f" * 24)
    mark(ledger, left := deliveries(1))
    assert under_way(folder, "f" * 24) == set(left)
    ledger.close()
    forget(folder, "f" * 24)
    assert set(kept(folder)) == {PROCESS, "e" * 24}


def test_a_ledger_in_which_nothing_is_left_is_removed_at_the_end(
    ledger: Ledger, folder: Path
) -> None:
    ledger.open("e" * 24)
    assert set(kept(folder)) == {PROCESS, "e" * 24}
    ledger.close()
    assert kept(folder) == []


def test_a_ledger_in_which_something_is_left_stays_for_whoever_takes_over(
    ledger: Ledger, folder: Path
) -> None:
    mark(ledger, left := deliveries(1))
    ledger.close()
    assert under_way(folder, PROCESS) == set(left)


def test_a_ledger_stays_while_what_was_given_back_is_not_written(
    ledger: Ledger, folder: Path
) -> None:
    ledger.close(all_written=False)
    assert under_way(folder, PROCESS) == set()


def test_a_file_that_cannot_be_mapped_says_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some file systems of virtual machines: it must not say that nothing is under way."""

    def unmappable(*_: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr("service.dispatch.sending.ledger.mmap.mmap", unmappable)
    ledger = Ledger(folder, 100)
    ledger.open(PROCESS)
    assert all(mark(ledger, deliveries(1)))
    assert under_way(folder, PROCESS) is None


def test_a_process_may_start_again_after_its_end(ledger: Ledger, folder: Path) -> None:
    ledger.close()
    ledger.open("e" * 24)
    mark(ledger, marked := deliveries(100))
    assert under_way(folder, "e" * 24) == set(marked)


def test_without_a_file_it_notes_nothing_and_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    ledger = Ledger(tmp_path / "file" / "ledgers", 2)
    ledger.open(PROCESS)
    assert mark(ledger, deliveries(5)) == [True] * 5
    ledger.close()
    assert "uncertain" in "".join(capsys.readouterr())


def test_the_ledger_of_a_process_that_lives_says_nothing_to_others(
    ledger: Ledger, folder: Path
) -> None:
    """Whoever was taken for dead and is not may mark more than what is read."""
    ledger.open("e" * 24)
    mark(ledger, left := deliveries(2))
    assert module.under_way(folder, PROCESS) is module.under_way(folder, "e" * 24) is None
    ledger.close()
    assert module.under_way(folder, PROCESS) == module.under_way(folder, "e" * 24) == set(left)


# Files that nobody can read


def test_a_ledger_that_is_not_there_says_nothing(folder: Path) -> None:
    assert under_way(folder, PROCESS) is None
    assert kept(folder) == []
    forget(folder, PROCESS)


def damage(folder: Path, start: int, content: bytes) -> None:
    path = folder / PROCESS
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + content + whole[start + len(content) :])


@pytest.mark.parametrize(
    ("start", "content"),
    [
        (0, b"another-ledger"),
        (15, b"0" * 32),  # another boot of this machine, or another machine
        (64, b"\0" * 32),  # a page that the disk never got
        (64 + 32, b"X"),
        (64 + 32 * 5, b"0" * 24 + b"1" * 8),  # an id, but not its own end behind it
        (64 + 32 * 99 + 14, b"ffff"),
    ],
)
def test_a_ledger_that_is_damaged_says_nothing(
    ledger: Ledger, folder: Path, start: int, content: bytes
) -> None:
    mark(ledger, [f"{number:024x}" for number in range(1, 11)])
    assert under_way(folder, PROCESS) is not None
    damage(folder, start, content)
    assert under_way(folder, PROCESS) is None


@pytest.mark.parametrize("size", [0, 10, 64, 64 + 31, 64 + 32 * 99, 64 + 32 * 101])
def test_a_ledger_of_another_size_says_nothing(ledger: Ledger, folder: Path, size: int) -> None:
    mark(ledger, deliveries(1))
    with (folder / PROCESS).open("r+b") as file:
        file.truncate(size)
    assert under_way(folder, PROCESS) is None


def test_a_ledger_of_another_boot_says_nothing(
    ledger: Ledger, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(ledger, deliveries(1))
    other = tmp_path / "boot_id"
    other.write_text("00000000-0000-0000-0000-000000000000\n")
    monkeypatch.setattr(module, "_BOOT_ID", other)
    assert under_way(folder, PROCESS) is None


@pytest.mark.parametrize("half", [slice(0, 16), slice(16, 32)])
def test_a_place_that_was_half_written_is_none(ledger: Ledger, folder: Path, half: slice) -> None:
    """It was written before its message left, or erased after the result was committed."""
    first, second = deliveries(2)
    mark(ledger, [first, second])
    damage(folder, 64 + half.start, b"-" * 16)
    assert under_way(folder, PROCESS) == {second}


# A real process

_KILLED = """
import sys
from itertools import count
from pathlib import Path
from service.dispatch.sending.ledger import Ledger

ledger, name = Ledger(Path(sys.argv[1]), 64), sys.argv[2]
ledger.open(name)
for turn in range(100_000):
    started = [f"{turn:016x}{number:08x}" for number in range(8)]
    for each in started:
        ledger.mark((each, turn))
    print(turn, flush=True)
    if turn == 1_000:
        sys.stdin.read()
    ledger.erase((each, turn) for each in started[:-1])
    ledger.erase([(f"{turn - 1:016x}{7:08x}", turn - 1)])
"""


def test_a_process_that_is_killed_leaves_what_was_under_way(folder: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(folder), PROCESS]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "1000":
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait(LIMIT) == -signal.SIGKILL
    turn = 1_000
    expected = {f"{turn:016x}{number:08x}" for number in range(8)} | {f"{turn - 1:016x}{7:08x}"}
    assert module.under_way(folder, PROCESS) == expected


def test_a_process_that_is_killed_anywhere_leaves_a_ledger_that_can_be_read(folder: Path) -> None:
    command = [sys.executable, "-c", _KILLED.replace("turn == 1_000", "False"), str(folder)]
    for number in range(3):
        name = f"{number:024x}"
        with subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(200 + number):
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(LIMIT) == -signal.SIGKILL
        found = module.under_way(folder, name)
        assert found is not None
        assert len(found) <= 9
