"""What an attack finds fault with."""

from __future__ import annotations

from chaos.attack import Finding
from chaos.hostile import Reply, Tally

ENVELOPE = '{"status":false,"message":"Busy."}'


def finding(beside: float = 0.1, memory: float = 100.0, status: int = 200) -> Finding:
    quiet, hostile = Tally(), Tally()
    quiet.note("GET /session", Reply(status, ""))
    return Finding([0.1] * 100, [beside] * 100, [100.0] * 75 + [memory] * 25, quiet, hostile)


def test_a_service_that_stands_firm_has_no_faults() -> None:
    assert finding(beside=0.19, memory=120.0).faults() == []
    assert list(finding().lines())[-2:] == ["quiet: 200: 1", "hostile: "]


def test_what_the_quiet_client_feels_is_a_fault() -> None:
    assert finding(beside=0.3).faults() == ["the quiet client's p99 is 3.0 times that alone"]
    assert finding(memory=200.0).faults() == ["memory grew from 100 to 200 MB"]
    assert finding(status=429).faults() == ["the quiet client was refused with 429"]


def test_of_answers_all_errors_of_the_server_are_faults_but_a_503_in_the_envelope() -> None:
    tally = Tally()
    for status, body in ((200, ""), (422, ""), (503, ENVELOPE)):
        tally.note("GET /", Reply(status, body))
    assert tally.faults == []
    for status, body in ((500, ENVELOPE), (502, ""), (503, "<html>")):
        tally.note("GET /", Reply(status, body))
    assert [fault.partition(" ")[2][3:6] for fault in tally.faults] == ["500", "502", "503"]
