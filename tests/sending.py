"""The service in this process, sending through a channel to the lying provider, used over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, cast

from werkzeug.test import TestResponse

from service.app import Application
from service.parts import Crier, make_dispatcher
from tests.conftest import Tenant
from tests.provider import Provider
from tests.waiting import LIMIT, until

TOKEN, APP_SECRET, VERIFY_TOKEN, WAHA_KEY, WEBHOOK_KEY = (
    "EAAG-token",
    "app-secret-4711",
    "verify-0815",
    "waha-key",
    "hook-key-42",
)
SECRETS = (TOKEN, APP_SECRET, VERIFY_TOKEN, WAHA_KEY, WEBHOOK_KEY)
PHONE_NUMBER_ID = "106540352242922"
SETTINGS = {
    "whatsapp_cloud": {
        "phone_number_id": PHONE_NUMBER_ID,
        "access_token": TOKEN,
        "app_secret": APP_SECRET,
        "verify_token": VERIFY_TOKEN,
    },
    "waha": {"api_key": WAHA_KEY, "webhook_key": WEBHOOK_KEY},
}
QUICK: dict[str, Any] = {
    "private_addresses": True,
    "poll_interval": 0.1,
    "sweep_interval": 0.3,
    "check_interval": 0.1,
    "flush_interval": 0.01,
    "retry_base": 0.02,
    "retry_cap": 0.1,
    "log_level": "DEBUG",
}
PICTURE = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"picture" * 1000


class Sending:
    """A client of the service, its sessions on the provider, and its broadcasts."""

    def __init__(self, app: Application, provider: Provider, name: str = "Acme") -> None:
        self.app = app
        self.crier: Crier = app.extensions["crier"]
        self.provider = provider
        self.client = Tenant(app, name)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Dispatch, and see to it that nothing has died of what happened meanwhile."""
        with dispatching(self.app):
            yield

    def session(self, channel: str = "whatsapp_cloud", **fields: Any) -> dict[str, Any]:
        """Create a session on the provider; `settings` are added to what the channel needs."""
        settings = {
            **SETTINGS[channel],
            "base_url": self.provider.url,
            **fields.pop("settings", {}),
        }
        name = fields.pop("name", channel)
        return self.client.make("/session", name=name, channel=channel, settings=settings, **fields)

    def picture(self) -> str:
        """Upload an attachment and return its id."""
        form = {"file": (BytesIO(PICTURE), "cake.jpeg")}
        answer = self.client.post("/attachment", data=form, content_type="multipart/form-data")
        assert answer.status_code == 201, answer.text
        return cast("str", answer.json["data"]["_id"])

    def broadcast(self, to: list[str], session: dict[str, Any], **message: Any) -> str:
        """Accept a broadcast of a text, or of the message given, and return its id."""
        order = {"send_type": "individual", "to": to, "message": message or {"text": "Hello"}}
        return str(self.client.make("/broadcast", session_id=session["_id"], **order)["_id"])

    def get(self, path: str) -> dict[str, Any]:
        """Fetch an object."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json["data"])

    def await_state(self, path: str, condition: Callable[[dict[str, Any]], object]) -> None:
        """Wait until an object is as wanted."""
        until(lambda: condition(self.get(path)))

    def await_completed(self, broadcast_id: str) -> dict[str, Any]:
        """Wait until nothing of a broadcast is open, and return it."""
        path = f"/broadcast/{broadcast_id}"
        self.await_state(path, lambda broadcast: broadcast["status"] == "completed")
        return self.get(path)

    def deliveries(self, broadcast_id: str) -> list[dict[str, Any]]:
        """Fetch all deliveries of a broadcast, in the order of `to`."""
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            path = f"/broadcast/{broadcast_id}/delivery?page_size=1000&page={page}"
            answer = self.client.get(path)
            found += answer.json["data"]
            if len(found) >= json.loads(answer.headers["X-Pagination"])["total"]:
                return found
            page += 1

    def report(self, session: dict[str, Any], body: bytes, signature: str = "") -> TestResponse:
        """Let the provider report, with its own signature unless another one is given."""
        header, own = sign(session["channel"], body)
        headers = {header: signature or own, "Content-Type": "application/json"}
        path = f"/webhook/{session['_id']}"
        return self.app.test_client().post(path, data=body, headers=headers, buffered=True)


@contextmanager
def dispatching(app: Application) -> Iterator[None]:
    """Let an application dispatch, and see to it that none of its threads dies."""
    dispatcher = make_dispatcher(app.extensions["crier"])
    dispatcher.start()
    try:
        yield
        assert dispatcher.problem() is None
    finally:
        assert dispatcher.stop(LIMIT)


def sign(channel: str, body: bytes) -> tuple[str, str]:
    """Return the header in which a provider signs a body, and the signature."""
    if channel == "waha":
        key = WEBHOOK_KEY.encode()
        return "X-Webhook-Hmac", hmac.new(key, body, hashlib.sha512).hexdigest()
    digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return "X-Hub-Signature-256", f"sha256={digest}"
