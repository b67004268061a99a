"""Hostile requests of one client: made up from the description, and known kinds of excess.

They go to a service on this machine's loopback and to nothing else. `chaos.attack` runs this in a
process of its own, so that it does not slow the quiet client down.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, NamedTuple

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

_TIMEOUT: Final = 30.0
_THREADS: Final = 3
_EXAMPLES: Final = 5
_NOT_ASKED: Final = frozenset({"rotateToken", "revokeToken"})
"""Operations that would take the hostile client's own token away."""


class Reply(NamedTuple):
    """What an answer says: its status, and the start of its body."""

    status: int
    body: str


class Tally:
    """How often each status was answered, and what was answered that must not be."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def note(self, request: str, reply: Reply) -> None:
        """Count an answer. Only a 503 in the envelope may be an error of the server."""
        is_fault = reply.status >= 500 and not _is_busy(reply)  # noqa: PLR2004 - server errors
        with self._lock:
            self.statuses[reply.status] += 1
            if is_fault:
                self.faults.append(f"{request}: {reply.status} {reply.body}")


class Sender:
    """Sends requests to the service with a token, each by a connection of its own."""

    def __init__(self, port: int, token: str, tally: Tally) -> None:
        self._port = port
        self._token = token
        self._tally = tally

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        """Send a request; return the answer, None if the connection was closed before one."""
        known = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, body, known | dict(headers or {}))
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.read(1_000).decode(errors="replace"))
        except (HTTPException, OSError, ValueError):
            return None
        finally:
            connection.close()
        self._tally.note(f"{method} {path[:100]}", reply)
        return reply

    def make(self, path: str, **fields: Any) -> str:
        """Create an object; return its id, empty if that was refused."""
        reply = self.send("POST", path, json.dumps(fields).encode())
        if reply is None or reply.status >= 400:  # noqa: PLR2004 - refused
            return ""
        _, _, rest = reply.body.partition('"_id":')
        return rest.strip().partition(",")[0].strip('" }')


def made_up(port: int, sender: Sender, is_over: Callable[[], bool]) -> None:
    """Send requests made up from the description, right and wrong ones, until it is over."""
    schema = schemathesis.openapi.from_url(
        f"http://127.0.0.1:{port}/openapi.json", wait_for_schema=_TIMEOUT, timeout=_TIMEOUT
    )
    schema.config.generation.update(with_security_parameters=False)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    seed = 0
    while not is_over():
        for operation in operations:
            if operation.definition.raw.get("operationId") not in _NOT_ASKED:
                for mode in GenerationMode:
                    _ask(operation, mode, sender, seed, is_over)
        seed += 1


def _ask(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    sender: Sender,
    seed: int,
    is_over: Callable[[], bool],
) -> None:
    if is_over():
        return

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        prepared = case.as_transport_kwargs(base_url="http://127.0.0.1")
        request = _Prepared.of(prepared)
        sender.send(request.method, request.path, request.body, request.headers)

    with suppress(Exception):  # what cannot be made up is no fault of the service
        ask._hypothesis_internal_use_seed = seed  # type: ignore[attr-defined]  # noqa: SLF001
        ask()


class _Prepared(NamedTuple):
    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> _Prepared:
        """Let `requests` encode what schemathesis would hand to it."""
        import requests  # noqa: PLC0415 - a dependency of schemathesis

        known = {"method", "url", "headers", "files", "data", "json", "params", "cookies"}
        request = requests.Request(**{name: options[name] for name in options if name in known})
        prepared = request.prepare()
        body: Any = prepared.body or b""
        raw = body.encode() if isinstance(body, str) else bytes(body)
        own = {"authorization", "content-length", "cookie"}
        headers: dict[str, Any] = {
            name: text for name, text in prepared.headers.items() if name.lower() not in own
        }
        return cls(prepared.method or "GET", prepared.path_url, raw, headers)


def excesses(sender: Sender, seed: int, is_over: Callable[[], bool]) -> None:
    """Send what is too much of something, one kind after another by chance, until it is over."""
    chance = random.Random(seed)  # noqa: S311 - a run can be repeated
    groups: list[str] = []
    while not is_over():
        kind = chance.choice(_KINDS)
        kind(sender, chance, groups)


def _large_bodies(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    size = chance.choice((1_000_000, 8_000_000, 31_000_000))
    text = chance.choice(("x", " ", "\N{GRINNING FACE}", "[", '"', "\\u0000")) * (size // 6)
    order = {"to": "12025550110", "send_type": "individual", "message": {"text": text}}
    bodies = (order, {text: 1}, {**order, "to": text}, {"name": text, "phones": [text]})
    path = chance.choice(("/broadcast", "/contact", "/group", "/session"))
    sender.send("POST", path, json.dumps(chance.choice(bodies)).encode())


def _deep_bodies(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    depth = chance.choice((100, 10_000, 1_000_000))
    opened, closed = chance.choice((("[", "]"), ('{"a":', "}")))
    sender.send("POST", "/broadcast", f"{opened * depth}1{closed * depth}".encode())


def _odd_bodies(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    raw = chance.choice((b"\xff\xfe\x00", b'{"a": NaN}', b'{"a": "\\ud800"}', b"1e999", b"", b"\0"))
    path = chance.choice(("/broadcast", "/contact/import", "/attachment", "/token"))
    sender.send("POST", path, raw)
    sender.send("POST", path, iter([raw, raw]), {"Transfer-Encoding": "chunked"})


def _bad_recipients(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    order = {"send_type": "individual", "message": {"text": "Hello"}}
    wrong = [f"no number {number}" for number in range(chance.choice((10, 200_000)))]
    sender.send("POST", "/broadcast", json.dumps({**order, "to": wrong}).encode())


def _many_messages(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    text = "\N{GRINNING FACE}" * 4_000
    to = [f"23481{chance.randrange(10**8):08d}" for _ in range(1_000)]
    sender.make("/broadcast", send_type="individual", to=to, message={"text": text})


def _long_pages(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    path = chance.choice(("/broadcast", "/delivery", "/contact", "/audit", "/sandbox/message"))

    def read() -> None:
        sender.send("GET", f"{path}?page_size=1000")

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _groups(sender: Sender, chance: random.Random, groups: list[str]) -> None:
    number = chance.randrange(10**9)
    people = [
        sender.make("/contact", name=f"{number}", phones=[f"23480{chance.randrange(10**8):08d}"])
        for _ in range(20)
    ]
    groups.append(sender.make("/group", name=f"group {number}", contacts=people))
    known = [group for group in groups if group]
    sender.make("/broadcast", send_type="group", to=known[-50:], message={"text": "Hello"})


def _strange_paths(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    paths = ("/%00", "/broadcast/%ff", f"/{'a' * 8_000}", "/broadcast?page=1e9", "//", "/../etc")
    method = chance.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"))
    sender.send(method, chance.choice(paths))


def _wrong_tokens(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    token = f"crier_{chance.getrandbits(160):040x}"
    sender.send("GET", "/broadcast", headers={"Authorization": f"Bearer {token}"})


_KINDS: Final = (
    _large_bodies,
    _deep_bodies,
    _odd_bodies,
    _bad_recipients,
    _many_messages,
    _long_pages,
    _groups,
    _strange_paths,
    _wrong_tokens,
)


def main(port: int, token: str, seconds: float, seed: int) -> None:
    """Send hostile requests for so long; print what was answered, as JSON."""
    end = time.monotonic() + seconds
    tally = Tally()
    sender = Sender(port, token, tally)

    def is_over() -> bool:
        return time.monotonic() > end

    threads = [threading.Thread(target=made_up, args=(port, sender, is_over))]
    threads += [
        threading.Thread(target=excesses, args=(sender, seed + number, is_over))
        for number in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"statuses": tally.statuses, "faults": tally.faults}))


def _is_busy(reply: Reply) -> bool:
    return reply.status == 503 and '"status":false' in reply.body.replace(" ", "")  # noqa: PLR2004


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin.read().strip(), float(sys.argv[2]), int(sys.argv[3]))
