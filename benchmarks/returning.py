"""What comes back while messages are sent: three receipts for each of them, and some replies."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import text

from benchmarks import crier, usage
from benchmarks.crier import APP_SECRET, Crier
from benchmarks.figures import Report, percentile
from benchmarks.message import FIRST_NUMBER
from benchmarks.provider import Provider
from benchmarks.rates import wait_for
from benchmarks.workspace import BenchmarkError, Workspace
from service import ids

GROUP: Final = "Receipts at 3 times the rate of sending, replies among them, Postgres, 200 ms"
BESIDE: Final = "sending beside them, of sending alone"
WEBHOOK: Final = "p99 of a webhook"
LEFT: Final = "receipts that wait at the end, of those that came"

_STATES: Final = ("sent", "delivered", "read")
_TOGETHER: Final = 33
"""Messages in one webhook: a hundred things to say."""

_CLIENTS: Final = 8
_LOOK: Final = 0.05
_SETTLED: Final = 2.0


class _Call(NamedTuple):
    """A webhook, and when it is due."""

    due: float
    body: bytes


class _Pace(NamedTuple):
    """What was sent a second, and µs of processor time: the dispatcher's of each delivery."""

    rate: float
    sent: int
    processor: float


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure how fast is sent while nothing comes back, and while all does."""
    seconds = 5.0 if quick else 12.0
    with crier.installed(workspace, "Postgres", provider.url("200ms")) as service:
        broadcast_id = service.accept(int(3_000 * (2 * seconds + 3 * _SETTLED)))
        with (
            service.serving(workspace, DISPATCH="off") as (port, worker),
            service.dispatching(workspace, GRACE="1") as (dispatcher,),
        ):
            service.resume(broadcast_id)
            wait_for(lambda: service.ended(broadcast_id)[0], 1)
            time.sleep(_SETTLED)
            alone = _pace(service, dispatcher.pid, seconds)
            with _Vendor(service, broadcast_id, port) as vendor:
                time.sleep(_SETTLED)
                vendor.taken.clear()
                told, used, left = vendor.told, usage.processor(worker), _waiting(service)
                beside = _pace(service, dispatcher.pid, seconds)
                told, used = vendor.told - told, usage.processor(worker) - used
            applied = max(1, told + left - _waiting(service))
    note = f"{beside.rate:,.0f}/s beside them, {alone.rate:,.0f}/s alone"
    report.add(GROUP, BESIDE, beside.rate / alone.rate, "times", least=0.85, note=note)
    late, usual = percentile(vendor.taken, 99), percentile(vendor.taken, 50)
    note = f"median {usual:.0f} ms, of {len(vendor.taken)} with {3 * _TOGETHER + 1} things to say"
    report.add(GROUP, WEBHOOK, late, "ms", most=50.0, note=note)
    report.add(GROUP, LEFT, 1 - applied / max(1, told), "times", most=0.2, note=f"of {told:,}")
    more = (beside.processor - alone.processor) * beside.sent / applied
    report.add(GROUP, "processor time of a receipt, dispatcher", more, "µs")
    report.add(GROUP, "processor time of a receipt, web worker", used * 1e6 / max(1, told), "µs")


def _pace(service: Crier, pid: int, seconds: float) -> _Pace:
    before, used, began = service.arrived(), usage.processor(pid), time.perf_counter()
    time.sleep(seconds)
    sent = service.arrived() - before
    used, taken = usage.processor(pid) - used, time.perf_counter() - began
    return _Pace(sent / taken, sent, used * 1e6 / max(1, sent))


def _waiting(service: Crier) -> int:
    with service.database.reading() as db:
        return db.scalar(text("SELECT sum(size) FROM waiting_receipts")) or 0


class _Vendor:
    """Reports on what has been sent, as it is sent, while the block lasts.

    `taken` are the milliseconds from when a webhook was due to its answer.
    """

    def __init__(self, service: Crier, broadcast_id: str, port: int) -> None:
        self._service = service
        self._broadcast_id = broadcast_id
        self._port = port
        self._path = f"/webhook/{service.first_session}"
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._watch)]
        self._threads += [threading.Thread(target=self._work) for _ in range(_CLIENTS)]
        self.taken: list[float] = []
        self.told = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        """Have everything told that was sent since the last look."""
        told = self._service.arrived()
        while not self._ends.wait(_LOOK):
            first, sent, now = told, self._service.arrived(), time.perf_counter()
            while told + _TOGETHER <= sent:
                due = now + _LOOK * (told - first) / (sent - first)
                self._calls.put(_Call(due, self._body(told)))
                told += _TOGETHER
                self.told += 3 * _TOGETHER
        for _ in range(_CLIENTS):
            self._calls.put(None)

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while call := self._calls.get():
            time.sleep(max(0.0, call.due - time.perf_counter()))
            digest = hmac.digest(APP_SECRET.encode(), call.body, hashlib.sha256).hex()
            signed = {"X-Hub-Signature-256": f"sha256={digest}"}
            connection.request("POST", self._path, call.body, signed)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
                raise BenchmarkError(f"A webhook was answered by {answer.status}: {said!r}")
            self.taken.append((time.perf_counter() - call.due) * 1000)
        connection.close()

    def _body(self, first: int) -> bytes:
        value = {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": "1"},
            "statuses": [*self._statuses(first)],
            "messages": [_reply(first)],
        }
        entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
        return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()

    def _statuses(self, first: int) -> Iterator[dict[str, Any]]:
        for number in range(first, first + _TOGETHER):
            for state in _STATES:
                yield {
                    "id": f"wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBJBM0I2RkZCREJBRDI2{number}",
                    "status": state,
                    "timestamp": "1750030073",
                    "recipient_id": str(FIRST_NUMBER + number),
                    "biz_opaque_callback_data": f"{ids.delivery(self._broadcast_id, number)}.0",
                    "pricing": {"billable": True, "pricing_model": "PMP", "category": "marketing"},
                }


def _reply(number: int) -> dict[str, Any]:
    return {
        "from": str(FIRST_NUMBER + number),
        "id": f"wamid.in.{number}",
        "timestamp": "1750030073",
        "type": "text",
        "text": {"body": "Yes, please"},
    }
