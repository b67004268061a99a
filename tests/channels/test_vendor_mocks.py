"""Both vendors' own descriptions of their APIs, served by prism, accept all that drivers send.

The descriptions are not ours to distribute. `CLOUD_API_DOCUMENT` and `WAHA_DOCUMENT` name the files
(Meta: business-messaging-api_v23.0.yaml of github.com/facebook/openapi, as JSON; WAHA: /-json of a
server), and `prism` comes from npm (@stoplight/prism-cli 5).
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from service.channels.base import Driver, DriverContext, InboundFile
from service.channels.content import Content, Location, Template
from service.channels.conversations import talk
from service.channels.drivers.whatsapp_cloud import WhatsAppCloud
from service.channels.errors import SendError
from service.channels.steps import Conversation, Sink
from tests.channels.conftest import Opened
from tests.channels.test_drivers import DELIVERY, LINK, MESSAGES, PARAMETERS, RECIPIENT
from tests.machine import inherited, running
from tests.serving import free_port
from tests.waiting import until

PRISM = shutil.which("prism")
DOCUMENTS = {"whatsapp_cloud": "CLOUD_API_DOCUMENT", "waha": "WAHA_DOCUMENT"}
REFUSED = re.compile("Request terminated with error")
BSUID = "NG.13491208655302741918"

Json = dict[str, Any]


def amended_of_meta(document: Json) -> Json:
    """Add what Meta's changelog has had since (our reference, user ids, Direct Send).

    A button's index has a pattern that Meta's own examples do not match.
    """
    schemas = document["components"]["schemas"]
    text = {"type": "string"}
    base = schemas["BaseMessageProperties"]
    base["required"] = [name for name in base.get("required", ()) if name != "to"]
    for schema in (base, schemas["MarketingMessageRequestPayload"]):
        schema["properties"] |= {"biz_opaque_callback_data": text, "recipient": text}
    base["properties"]["category"] = {"enum": ["utility"]}
    schemas["TemplateComponent"]["properties"]["index"]["pattern"] = "^[0-9]$"
    return document


def amended_of_waha(document: Any) -> Any:
    """Correct the types of texts that are said to be objects, and take out examples of null.

    The mock would answer such examples, and refuse its own answer.
    """
    if isinstance(document, list):
        return [*map(amended_of_waha, document)]
    if not isinstance(document, dict):
        return document
    if document.get("type") == "object" and isinstance(document.get("default"), str):
        document = {**document, "type": "string"}
    return {
        name: amended_of_waha(value)
        for name, value in document.items()
        if not (name in {"example", "default"} and value is None)
    }


AMENDED: dict[str, Callable[[Json], Any]] = {
    "whatsapp_cloud": amended_of_meta,
    "waha": amended_of_waha,
}


class Mock:
    """A vendor's document, served by prism, and what it thinks of requests."""

    def __init__(self, channel: str, folder: Path, context: DriverContext) -> None:
        self._document = folder / f"{channel}.json"
        self._log = folder / f"{channel}.log"
        self._context = context
        path = Path(os.environ[DOCUMENTS[channel]])
        self._document.write_text(json.dumps(AMENDED[channel](json.loads(path.read_text()))))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = [str(PRISM), "mock", "--errors", "--port", str(port), str(self._document)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve; at the end, no request may have been refused."""
        with running(self._command, inherited(), log=self._log):
            until(lambda: "Prism is listening" in self._log.read_text())
            yield
        refused = [line for line in self._log.read_text().splitlines() if REFUSED.search(line)]
        assert refused == []

    def ask(self, conversation: Conversation[Any]) -> None:
        """Carry out a conversation; what the mock answers is made up and may be a failure."""
        with suppress(SendError):
            talk(conversation, self._context)

    def send(self, driver: Driver, content: Content, to: str = RECIPIENT) -> None:
        """Send a message part by part."""
        for number, part in enumerate(driver.plan(content)):
            self.ask(driver.send(to, driver.prepare(part), f"{DELIVERY}.{number}"))


@pytest.fixture
def mock(request: pytest.FixtureRequest, tmp_path: Path, context: DriverContext) -> Iterator[Mock]:
    """Return the running mock of the channel that `request` has as parameter."""
    if PRISM is None or not os.environ.get(DOCUMENTS[request.param]):
        pytest.skip("a vendor's OpenAPI document or prism is not there")
    mock = Mock(request.param, tmp_path, context)
    with mock.running():
        yield mock


TEMPLATE = Template(
    "order_ready",
    "en_US",
    (
        {"type": "header", "parameters": [{"type": "image", "image": {"link": LINK}}]},
        PARAMETERS,
        {
            "type": "button",
            "sub_type": "url",
            "index": 0,
            "parameters": [{"type": "text", "text": "x"}],
        },
    ),
)


@pytest.mark.parametrize("mock", ["whatsapp_cloud"], indirect=True)
def test_metas_mock_takes_every_kind_of_request(mock: Mock, opened: Opened, tmp_path: Path) -> None:
    account = {"base_url": mock.url, "business_account_id": "102290129340398"}
    driver = cast("WhatsAppCloud", opened("whatsapp_cloud", **account))
    mock.ask(driver.check())
    mock.ask(driver.templates())
    for message in MESSAGES.values():
        if message.whatsapp_cloud:
            mock.send(driver, message.content(tmp_path))
    for to in (RECIPIENT, BSUID):
        mock.send(driver, Content(text="Hi", category="utility"), to)
        mock.send(driver, Content(location=Location("6.5", "3.2", "Lagos")), to)
        mock.send(driver, Content(template=TEMPLATE), to)
    mock.send(driver, Content(template=replace(TEMPLATE, marketing=True)))
    mock.ask(driver.fetch(InboundFile({"id": "4490709327384033"}, Sink(io.BytesIO().write, 1))))


@pytest.mark.parametrize("files", ["link", "inline"])
@pytest.mark.parametrize("mock", ["waha"], indirect=True)
def test_wahas_mock_takes_every_kind_of_request(
    mock: Mock, opened: Opened, tmp_path: Path, files: str
) -> None:
    driver = opened("waha", base_url=mock.url, files=files)
    mock.ask(driver.check())
    mock.send(opened("waha", base_url=mock.url, resolve=True), Content(text="Hi"))
    for message in MESSAGES.values():
        if message.waha:
            mock.send(driver, message.content(tmp_path))
    mock.send(driver, Content(text="Hi"), "120363-1@g.us")
