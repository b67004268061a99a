"""The demonstration: a service of its own, one real broadcast, and how everybody fared.

It uses nothing that a client program could not: the command line to make a client, then HTTP.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from service.channels.drivers import sandbox

_ROOT = Path(__file__).resolve().parent.parent
_PICTURES = [_ROOT / "service/static/demo" / name for name in ("evening.jpeg", "crier.png")]
_ORDINARY = [str(12025550110 + number) for number in range(30)]
_PATIENCE = 60.0

_AREAS = (202, 212, 213, 312, 404, 415, 503, 617, 702, 808)
_CROWD = [
    str((1_000 + area) * 10_000_000 + 5_550_110 + number) for area in _AREAS for number in range(89)
]
_SLOW = 5
"""Messages a second of the broadcast that is left in progress."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Calls without a proxy: whatever the environment says, the service is on this machine."""
_ATTEMPTS = 3

_EXPECTED = {sandbox.UNREACHABLE: ("failed", 1), sandbox.FLAKY: ("failed", _ATTEMPTS)}
"""How the recipients end that are not simply sent, and after how many attempts."""


@dataclass(frozen=True, slots=True)
class Api:
    """A client program: an address and a token."""

    address: str
    token: str

    def get(self, path: str) -> Any:
        """Fetch one answer's data."""
        return self._call("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Post JSON and return the answer's data."""
        return self._call("POST", path, json.dumps(body).encode())

    def upload(self, picture: Path) -> str:
        """Upload a file and return the attachment's id."""
        boundary = uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file";'
            f' filename="{picture.name}"\r\n\r\n'
        )
        body = head.encode() + picture.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return str(self._call("POST", "/attachment", body, kind)["_id"])

    def _call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(self.address + path, body, headers, method=method)  # noqa: S310
        with _DIRECT.open(request, timeout=30) as answer:
            return json.load(answer)["data"]


def main() -> int:
    """Run the demonstration; return 0 if every delivery ended as it should."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crier-demo-") as folder:
        environment = _environment(Path(folder))
        click.secho(
            "Crier, on its embedded defaults: SQLite, a sandbox channel, one process", bold=True
        )
        _say("migrating an SQLite file")
        _flask(environment, "migrate")
        _say("making a client with a sandbox session and a token")
        _flask(environment, "client", "create", "demo")
        token = _flask(environment, "token", "create", "demo", "--scope", "admin").strip()
        _say(f"starting gunicorn on 127.0.0.1:{environment['PORT']}")
        with _serving(environment) as address:
            fine = _show(Api(address, token))
            _say_where_the_console_is(environment, address)
            if environment.get("KEEP"):
                _keep(Api(address, token))
    took = time.monotonic() - began
    click.echo(f"\nStopped all that was started, after {took:.1f} s.")
    _say_what_is_next()
    if not fine:
        click.secho("Some deliveries did not end as they should.", fg="red")
    return 0 if fine else 1


def _show(api: Api) -> bool:
    """Send the broadcast, watch it, and return whether every delivery ended as expected."""
    attachments = [api.upload(picture) for picture in _PICTURES]
    _say(f"uploaded {' and '.join(picture.name for picture in _PICTURES)}")
    card = {"name": "Ada Lovelace", "phones": [_ORDINARY[0]], "organisation": "Analytical Engines"}
    contact = api.post("/contact", card)["_id"]
    recipients = [*_ORDINARY, *sandbox.MAGIC]
    began = time.monotonic()
    broadcast = api.post("/broadcast", _order(recipients, attachments, contact))
    answered = (time.monotonic() - began) * 1000
    _say(f"POST /broadcast to {len(recipients)} recipients: answered in {answered:.0f} ms\n")
    final = _watch(api, broadcast["_id"])
    deliveries = api.get(f"/broadcast/{broadcast['_id']}/delivery")
    _print_table(deliveries, final)
    received = api.get("/sandbox/message?page_size=1000")
    return _is_as_expected(deliveries, received, recipients)


def _order(recipients: list[str], attachments: list[str], contact: str) -> dict[str, Any]:
    """Return the guide's broadcast."""
    return {
        "session_id": "",
        "access_token": "",
        "send_type": "individual",
        "to": ",".join(recipients),
        "message": {
            "text": "New Test Broadcasts text",
            "attachments": attachments,
            "location": {"name": "optional", "lat": "6.556452", "lng": "3.2774487"},
            "contactId": contact,
        },
    }


def _watch(api: Api, broadcast_id: str) -> dict[str, Any]:
    """Follow a broadcast to its end with a bar, and return its last state."""
    broadcast: dict[str, Any] = api.get(f"/broadcast/{broadcast_id}")
    total = broadcast["counts"]["total"]
    deadline = time.monotonic() + _PATIENCE
    with click.progressbar(length=total, label="  delivering", file=sys.stdout) as bar:
        while broadcast["status"] != "completed" and time.monotonic() < deadline:
            time.sleep(0.1)
            broadcast = api.get(f"/broadcast/{broadcast_id}")
            bar.update(total - broadcast["counts"]["pending"] - bar.pos)
    return broadcast


def _print_table(deliveries: list[dict[str, Any]], final: dict[str, Any]) -> None:
    began = final["createdAt"]
    row = "  {:<14}{:<10}{:>8}{:>9}   {}"
    click.secho("\n" + row.format("recipient", "state", "attempts", "after", "reason"), bold=True)
    for delivery in deliveries:
        after = f"{_seconds(delivery['updatedAt']) - _seconds(began):.2f} s"
        reason = delivery["reason"] or ""
        colour = "red" if delivery["status"] == "failed" else None
        state, attempts = delivery["status"], delivery["attempts"]
        click.secho(row.format(delivery["recipient"], state, attempts, after, reason), fg=colour)
    totals = ", ".join(f"{count} {name}" for name, count in final["counts"].items() if count)
    click.secho(f"\n  {final['status']}: {totals}", bold=True)


def _is_as_expected(
    deliveries: list[dict[str, Any]], received: list[dict[str, Any]], recipients: list[str]
) -> bool:
    """Compare each end with the expected one, and what we say with what the sandbox received."""
    ends = {each["recipient"]: (each["status"], each["attempts"]) for each in deliveries}
    as_expected = all(
        ends.get(recipient) == _EXPECTED.get(recipient, ("sent", ends.get(recipient, ("", 0))[1]))
        for recipient in recipients
    )
    sent = {recipient for recipient, (status, _) in ends.items() if status == "sent"}
    copies = [(each["recipient"], each["kind"], each["reference"]) for each in received]
    click.echo(f"  the sandbox's own store holds {len(copies)} messages for {len(sent)} recipients")
    exactly_once = len(copies) == len(set(copies)) == 5 * len(sent)
    return as_expected and exactly_once and {who for who, *_ in copies} == sent


def _environment(folder: Path) -> dict[str, str]:
    """Return the settings of the demonstration: all defaults, but for quick retries."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "KEEP", "LANG", "TMPDIR"}
    }
    return kept | {
        "DATA_DIR": str(folder),
        "PORT": str(_free_port()),
        "RETRY_BASE": "0.5",
        "MAX_ATTEMPTS": str(_ATTEMPTS),
        "LOG_LEVEL": "WARNING",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _flask(environment: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    done = subprocess.run(  # noqa: S603 - our own words
        command, cwd=_ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@contextmanager
def _serving(environment: dict[str, str]) -> Iterator[str]:
    """Run gunicorn until the end of the block, and give the address it answers at."""
    command = [sys.executable, "-m", "gunicorn", "--log-level", "warning", "wsgi:app"]
    server = subprocess.Popen(command, cwd=_ROOT, env=environment)  # noqa: S603 - our own words
    address = f"http://127.0.0.1:{environment['PORT']}"
    try:
        _await(address, server)
        yield address
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=40)
        server.kill()
        server.wait()


def _await(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), _DIRECT.open(f"{address}/readyz", timeout=5):
            return
        time.sleep(0.05)
    raise click.ClickException("The service did not become ready: its log is above.")


def _say(what: str) -> None:
    click.echo(f"  {what}")


def _say_where_the_console_is(environment: dict[str, str], address: str) -> None:
    link = _flask(environment, "console", "link", "demo", "--address", address).strip()
    click.echo(f"\nThe console, by a link that signs you in once:\n  {link}")
    if not environment.get("KEEP"):
        click.echo("  make demo KEEP=1 leaves it running, with a broadcast in progress.")


def _keep(api: Api) -> None:
    """Send a slow broadcast, and leave the service running until somebody presses Ctrl-C."""
    slow = {"name": "slow", "channel": "sandbox", "rate": _SLOW}
    order = {
        "session_id": api.post("/session", slow)["_id"],
        "send_type": "individual",
        "to": _CROWD,
        "message": {"text": "The clinic moves to 12 Harbour Road on Monday."},
    }
    api.post("/broadcast", order)
    click.secho("\nA broadcast is in progress. Ctrl-C stops the service.", bold=True)
    with suppress(KeyboardInterrupt):
        signal.pause()


def _say_what_is_next() -> None:
    click.echo(
        "\nWhere to look next:\n"
        "  make run                       serve for yourself; prints a request to paste\n"
        "  http://127.0.0.1:8000/docs     every request, to try out (after make run)\n"
        "  service/dispatch/upkeep/fanout.py     where a recipient becomes a delivery\n"
        "  docs/README.md                 settings, deployment, what is promised in a crash"
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    sys.exit(main())
