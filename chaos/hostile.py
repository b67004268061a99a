"""Hostile requests of one client: made up from the description, and known kinds of excess.

They go to a service on this machine's loopback and to nothing else. `chaos.attack` runs this in a
process of its own, so that it does not slow the quiet client down.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from chaos.senders import Sender, Tally

_ANSWER_WITHIN: Final = 30.0
_THREADS: Final = 3
_EXAMPLES: Final = 5
_NOT_ASKED: Final = frozenset({"rotateToken", "revokeToken"})
"""Operations that would take the hostile client's own token away."""


def made_up(port: int, sender: Sender, seed: int, is_over: Callable[[], bool]) -> None:
    """Send requests made up from the description, right and wrong ones, until it is over."""
    schema = schemathesis.openapi.from_url(
        f"http://127.0.0.1:{port}/openapi.json", timeout=_ANSWER_WITHIN
    )
    schema.config.generation.update(with_security_parameters=False)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
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


def _post(sender: Sender, chance: random.Random, path: str, body: bytes) -> None:
    """Post a body as a whole, or as often in chunks of one size."""
    size = chance.choice((0, 0, 1_000, 65_536))
    sender.send("POST", path, chunks(body, size) if size else body)


def chunks(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in pieces of one size."""
    return (body[start : start + size] for start in range(0, len(body), size))


def _large_bodies(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    size = chance.choice((1_000_000, 8_000_000, 31_000_000))
    text = chance.choice(("x", " ", "\N{GRINNING FACE}", "[", '"', "\\u0000")) * (size // 6)
    order = {"to": "12025550110", "send_type": "individual", "message": {"text": text}}
    bodies = (order, {text: 1}, {**order, "to": text}, {"name": text, "phones": [text]})
    path = chance.choice(("/broadcast", "/contact", "/group", "/session"))
    _post(sender, chance, path, json.dumps(chance.choice(bodies)).encode())


def _deep_bodies(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    depth = chance.choice((100, 10_000, 1_000_000))
    opened, closed = chance.choice((("[", "]"), ('{"a":', "}")))
    _post(sender, chance, "/broadcast", f"{opened * depth}1{closed * depth}".encode())


def _odd_bodies(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    raw = chance.choice((b"\xff\xfe\x00", b'{"a": NaN}', b'{"a": "\\ud800"}', b"1e999", b"", b"\0"))
    path = chance.choice(("/broadcast", "/contact/import", "/attachment", "/token"))
    _post(sender, chance, path, raw)
    # Said to be in chunks, and not.
    sender.send("POST", path, iter([raw, raw]), {"Transfer-Encoding": "chunked"})


def _bad_recipients(sender: Sender, chance: random.Random, _groups: list[str]) -> None:
    order = {"send_type": "individual", "message": {"text": "Hello"}}
    wrong = [f"no number {number}" for number in range(chance.choice((10, 200_000)))]
    _post(sender, chance, "/broadcast", json.dumps({**order, "to": wrong}).encode())


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


def main(port: int, seed: int) -> None:
    """Send hostile requests until standard input ends; print what was answered, as JSON.

    The first line there is the token.
    """
    tally = Tally()
    sender = Sender(port, sys.stdin.readline().strip(), tally)
    ended = threading.Event()

    def is_over() -> bool:
        return ended.is_set() or tally.is_gone

    threads = [threading.Thread(target=made_up, args=(port, sender, seed, is_over))]
    threads += [
        threading.Thread(target=excesses, args=(sender, seed + number, is_over))
        for number in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps(tally.told()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
