"""Limits of clients: 80 requests at once, to four processes, of which exactly the limit pass."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from service.app import create_app
from service.config import Settings
from service.core import clients, tokens, usages
from service.core.limits import Limit
from service.core.tokens import Scope
from service.database import Database, now_ms
from service.parts import Crier
from tests.conftest import on_sqlite
from tests.serving import Caller, Server, running

ATTEMPTS, THREADS = 80, 20
PASSING = 17
"""How much each limit allows besides what the client has already."""

PNG = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAAAAAAAAAAAA"
_numbers = itertools.count(1)


class Attack(NamedTuple):
    """A limit, the request that uses one of it, how it is refused, and what there is before."""

    limit: Limit
    path: str
    body: Callable[[int], dict[str, Any]]
    status: int
    before: int = 0
    each: int = 1


def broadcast(number: int) -> dict[str, Any]:
    return {
        "send_type": "individual",
        "to": str(12025552000 + number),
        "message": {"text": "Hello"},
        "send_at": "2998-01-01T00:00:00Z",
        "expires_at": "2998-01-02T00:00:00Z",
    }


def contact(number: int) -> dict[str, Any]:
    return {"name": f"{number:04}", "phones": [str(12025552000 + number)]}


ATTACKS = [
    Attack(Limit.RECIPIENTS, "/broadcast", broadcast, 429),
    Attack(Limit.BROADCASTS, "/broadcast", broadcast, 409),
    Attack(Limit.BYTES, "/contact", contact, 413, each=len('0001["12025552001"]')),
    Attack(Limit.CONTACTS, "/contact", contact, 409),
    Attack(Limit.GROUPS, "/group", lambda number: {"name": str(number)}, 409),
    Attack(Limit.ATTACHMENTS, "/attachment", lambda _: {"file": PNG}, 409),
    Attack(
        Limit.SESSIONS,
        "/session",
        lambda number: {"name": str(number), "channel": "sandbox"},
        409,
        before=1,
    ),
    Attack(
        Limit.CALLBACKS,
        "/callback",
        lambda _: {"url": "https://1.1.1.1/", "events": ["opt_out.changed"]},
        409,
    ),
    Attack(
        Limit.OPT_OUTS, "/opt-out", lambda number: {"recipient": str(12025552000 + number)}, 409
    ),
    Attack(
        Limit.SANDBOX_REPLIES,
        "/sandbox/reply",
        lambda number: {"recipient": str(12025552000 + number), "text": "Hi"},
        409,
    ),
    Attack(Limit.BURST, "/contact", contact, 429),
]


class Tenant(NamedTuple):
    """A client with a token."""

    id: str
    token: str


@pytest.fixture
def crier(settings: Settings) -> Iterator[Crier]:
    parts: Crier = create_app(settings).extensions["crier"]
    yield parts
    parts.database.dispose()


def tenant(database: Database, attack: Attack) -> Tenant:
    """Make a client that one limit hinders."""
    name = str(attack.limit)
    most = {attack.limit: attack.each * PASSING + attack.before}
    usual = {Limit.REQUESTS: 1_000, Limit.BURST: 10_000}
    if attack.limit == Limit.BURST:
        usual = {Limit.REQUESTS: 1}
    with database.writing() as db:
        client = clients.create(db, name)
        clients.limit(db, name, {**usual, **most})
        return Tenant(client.id, tokens.create(db, client.id, name, [Scope.ADMIN])[1])


def statuses(server: Server, tenant: Tenant, attack: Attack) -> tuple[Counter[int], dict[str, str]]:
    """Send many requests at once; return how they were answered, and the headers of a refusal."""
    refusals: list[dict[str, str]] = []

    def attempt(number: int) -> int:
        body = json.dumps(attack.body(number)).encode()
        answer = Caller(server.port, tenant.token).ask("POST", attack.path, body)
        if answer.status != 201:
            refusals.append({**answer.headers, "message": json.loads(answer.body)["message"]})
        return answer.status

    with ThreadPoolExecutor(THREADS) as pool:
        counted = Counter(pool.map(attempt, range(1, ATTEMPTS + 1)))
    return counted, refusals[0] if refusals else {}


def test_exactly_the_limit_passes_from_four_processes(settings: Settings, crier: Crier) -> None:
    # On a busy machine, SQLite's one writer is not free at once.
    patient = {"DATABASE_TIMEOUT": "30", "LOG_LEVEL": "ERROR"}
    # Nor does a process keep threads for those who made requests before.
    threads = {"WEB_CONCURRENCY": "4", "WEB_THREADS": str(2 * THREADS)}
    server = Server(settings, "--preload", DISPATCH="off", **threads, **patient)
    with running(server):
        for attack in ATTACKS:
            mine = tenant(crier.database, attack)
            if attack.path in {"/session", "/broadcast", "/sandbox/reply"}:
                first = {"name": "first", "channel": "sandbox"}
                assert server.ask("POST", "/session", mine.token, first)[0] == 201
            began = time.monotonic()
            counted, refusal = statuses(server, mine, attack)
            # A rate allows one more a second.
            more = int(time.monotonic() - began) if attack.limit == Limit.BURST else 0
            assert PASSING <= counted[201] <= PASSING + more, attack
            assert counted[attack.status] == ATTEMPTS - counted[201], attack
            assert "limit" in refusal["message"], attack
            if attack.status == 429:
                assert refusal["RateLimit"].startswith(f'"{_name(attack.limit)}";r=0;t=')
                assert int(refusal["Retry-After"]) > 0
            if attack.limit != Limit.BURST:
                with crier.database.reading() as db:
                    report = usages.report(db, mine.id, settings, now=now_ms())
                most = attack.each * PASSING + attack.before
                assert report[attack.limit] == (most, most), attack
    stored = [path for path in settings.attachments_dir.iterdir() if path.is_file()]
    assert len(stored) == PASSING


def _name(limit: Limit) -> str:
    return Limit.REQUESTS if limit == Limit.BURST else limit


@on_sqlite
@pytest.mark.parametrize("path", ["/contact", "/console/sign-in"])
def test_exactly_so_many_wrong_tokens_are_looked_at(settings: Settings, path: str) -> None:
    most = 12
    own = {"WEB_CONCURRENCY": "4", "DISPATCH": "off", "LOG_LEVEL": "ERROR"}
    server = Server(settings, "--preload", SIGN_IN_FAILURES=str(most), **own)

    def attempt(number: int) -> int:
        if path == "/contact":
            return Caller(server.port, f"crier_{number}").ask("GET", path).status
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return Caller(server.port).ask("POST", path, f"token=crier_{number}".encode(), form).status

    with running(server), ThreadPoolExecutor(THREADS) as pool:
        began = now_ms()
        counted = Counter(pool.map(attempt, range(ATTEMPTS)))
        seconds = (now_ms() - began) / 1000
    told = 401 if path == "/contact" else 403
    assert set(counted) == {told, 429}
    assert most <= counted[told] <= most + seconds * most / 60
