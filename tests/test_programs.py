"""Programs that are forked are what the interpreter would start."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.programs import Program
from tests.waiting import LIMIT


@pytest.mark.parametrize(("year", "status"), [("2031", 0), ("never", 2)])
def test_a_program_has_its_own_arguments_output_and_status(
    tmp_path: Path, year: str, status: int
) -> None:
    with (tmp_path / "said").open("wb") as said:
        files = (said.fileno(), said.fileno())
        program = Program(("calendar", year, "4"), tmp_path, {"LC_ALL": "C"}, files)
        assert program.wait(LIMIT) == status
    assert ("April 2031" if not status else "usage: ") in (tmp_path / "said").read_text()


def test_a_program_dies_of_a_signal_and_is_told_no_more(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        program = Program(("http.server", "0"), tmp_path, {}, (said.fileno(), said.fileno()))
        assert program.poll() is None
        program.kill()
        assert program.wait(LIMIT) == program.poll() == -signal.SIGKILL
    program.terminate()
