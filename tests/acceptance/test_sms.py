"""SMS from the request to the report, with a gateway on the loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from service.app import Application
from tests.conftest import ROOT, Tenant, on_sqlite
from tests.receiver import Got, Receiver
from tests.sending import QUICK, dispatching
from tests.waiting import until
from tests.world import ADA, GRACE

PUBLIC = "https://crier.example"
ACCOUNT, KEY = "AC" + "a" * 32, "12345"


@pytest.fixture
def gateway() -> Iterator[Receiver]:
    with Receiver() as running:
        running.answer = lambda _got: 201
        yield running


@pytest.fixture
def app(make_app: Callable[..., Application]) -> Application:
    return make_app(**QUICK, public_url=PUBLIC)


def form(got: Got) -> dict[str, str]:
    return dict(parse_qsl(got.body.decode()))


def states(client: Tenant, broadcast_id: str) -> dict[str, tuple[str, str | None]]:
    listed: Any = client.get(f"/broadcast/{broadcast_id}/delivery").json["data"]
    return {each["recipient"]: (each["status"], each["code"]) for each in listed}


def signed(url: str, fields: dict[str, str]) -> dict[str, str]:
    said = url + "".join(f"{name}{value}" for name, value in sorted(fields.items()))
    digest = hmac.new(KEY.encode(), said.encode(), hashlib.sha1).digest()
    return {
        "X-Twilio-Signature": base64.b64encode(digest).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_twilio_sends_reports_and_hears_a_stop(app: Application, gateway: Receiver) -> None:
    client = Tenant(app, "Acme")
    gateway.says = lambda got: json.dumps({"sid": f"SM{form(got)['To']}"}).encode()
    settings = {"account_sid": ACCOUNT, "auth_token": KEY, "sender": "+12025550110"}
    where = {"base_url": gateway.url}
    session = client.make("/session", name="sms", channel="twilio", settings={**settings, **where})
    message = {"text": "Hello {{name}}"}
    people = [
        {"to": ADA, "variables": {"name": "Ada"}},
        {"to": GRACE, "variables": {"name": "Grace"}},
    ]
    with dispatching(app):
        made = client.make(
            "/broadcast",
            session_id=session["_id"],
            send_type="individual",
            to=people,
            message=message,
        )
        until(lambda: {each[0] for each in states(client, made["_id"]).values()} == {"sent"})
        assert {form(got)["To"]: form(got)["Body"] for got in gateway.got} == {
            f"+{ADA}": "Hello Ada",
            f"+{GRACE}": "Hello Grace",
        }
        url = f"{PUBLIC}/webhook/{session['_id']}"
        assert {form(got)["StatusCallback"] for got in gateway.got} == {url}
        for fields in (
            {"MessageSid": f"SM+{ADA}", "MessageStatus": "delivered", "To": f"+{ADA}"},
            {
                "MessageSid": f"SM+{GRACE}",
                "MessageStatus": "undelivered",
                "ErrorCode": "30005",
                "To": f"+{GRACE}",
            },
            {"MessageSid": "SM9", "From": f"+{ADA}", "To": "+12025550110", "Body": "Stop."},
        ):
            path, body = f"/webhook/{session['_id']}", urlencode(fields)
            forged = app.test_client().post(path, data=body, headers=signed("https://a", fields))
            assert forged.status_code == 403
            answer = app.test_client().post(path, data=body, headers=signed(url, fields))
            assert answer.status_code == 200, answer.text
        expected = {ADA: ("delivered", None), GRACE: ("failed", "30005")}
        until(lambda: states(client, made["_id"]) == expected)
        left_out: Any = client.get(f"/session/{session['_id']}/opt-out").json["data"]
        assert [each["recipient"] for each in left_out] == [ADA]


def test_a_described_gateway_sends_and_reports_by_get(app: Application, gateway: Receiver) -> None:
    client = Tenant(app, "Acme")
    gateway.says = lambda _got: (
        b'{"message-count":"1","messages":[{"status":"0","message-id":"1"}]}'
    )
    described = json.loads((ROOT / "docs" / "gateways" / "vonage.json").read_text())
    described["settings"]["base_url"] = gateway.url
    session = client.make("/session", **described)
    with dispatching(app):
        made = client.make(
            "/broadcast",
            session_id=session["_id"],
            send_type="individual",
            to=ADA,
            message={"text": "Hi"},
        )
        until(lambda: states(client, made["_id"]) == {ADA: ("sent", None)})
        report = f"/webhook/{session['_id']}?messageId=1&status=delivered"
        assert app.test_client().get(f"{report}&token=guessed").status_code == 403
        assert app.test_client().get(f"{report}&token=a-long-random-word").status_code == 200
        until(lambda: states(client, made["_id"]) == {ADA: ("delivered", None)})


@on_sqlite
@pytest.mark.parametrize("field", ["template", "contactId", "attachments"])
def test_what_sms_cannot_carry_is_refused_when_the_broadcast_is_made(
    app: Application, field: str
) -> None:
    client = Tenant(app, "Acme")
    settings = {"account_sid": ACCOUNT, "auth_token": KEY, "sender": "+12025550110"}
    client.make("/session", name="sms", channel="twilio", settings=settings, default=True)
    contact = client.make("/contact", name="Ada", phones=[ADA])
    values: dict[str, Any] = {
        "template": {"name": "hello", "language": "en"},
        "contactId": contact["_id"],
        "attachments": ["0" * 24],
    }
    order = {"send_type": "individual", "to": ADA, "message": {"text": "Hi", field: values[field]}}
    answer = client.post("/broadcast", json=order)
    assert answer.status_code == 422
    assert any(name.startswith("message") for name in answer.json["errors"])
