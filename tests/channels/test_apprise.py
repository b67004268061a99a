"""The driver for Apprise's services, against one of them that speaks to the loopback."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from service.channels.base import Account, DriverContext
from service.channels.content import (
    ContactCard,
    Content,
    Location,
    Part,
    Template,
    Text,
    UnsupportedContentError,
)
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.channels.steps import NotAllowedError
from tests import provider as lies
from tests.channels.conftest import Memory, picture
from tests.channels.conversing import carry_out, converse
from tests.provider import Fault, Provider, instead

pytest.importorskip("apprise", reason="the optional package apprise is not installed")

from service.channels.drivers.apprise import Apprise, Settings

# Apprise loads all its services at once, and a library of one of them uses imghdr.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

RECIPIENT = "2348179803743"
SMS = "atalk://crier@a1b2c3d4e5f6a7b8c9/{to}"


@pytest.fixture
def hook(provider: Provider) -> str:
    """Return the URL of a service that posts JSON to the loopback."""
    provider.choose = lambda _request: instead(200)
    return provider.url.replace("http:", "json:") + "/hook/{to}"


class _Listener(logging.Handler):
    def __init__(self, heard: list[logging.LogRecord]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record)


def _send(driver: Apprise, part: Part) -> str:
    return converse(driver.send(RECIPIENT, driver.prepare(part), "d.0")).result


def _opened(url: str, context: DriverContext) -> Apprise:
    settings: dict[str, Any] = Settings().load({"url": url})
    return Apprise(Account("s", settings, Memory()), context)


def test_a_message_goes_to_the_recipient_in_the_url(
    hook: str, provider: Provider, context: DriverContext
) -> None:
    driver = _opened(hook, context)

    assert _send(driver, Text("Hello")) == ""

    assert provider.requests[0].path == f"/hook/{RECIPIENT}"
    assert provider.requests[0].json["message"] == "Hello"


def test_a_file_goes_along_where_the_service_takes_it(
    hook: str, provider: Provider, context: DriverContext, tmp_path: Path
) -> None:
    driver = _opened(hook, context)

    for part in driver.plan(Content(text="Hi", media=(picture(tmp_path),))):
        _send(driver, part)

    words, file = (each.json for each in provider.requests)
    assert (words["message"], words["attachments"]) == ("Hi", [])
    assert file["attachments"][0]["filename"] == "cake.jpeg"


def test_places_and_cards_are_told_in_words(hook: str, context: DriverContext) -> None:
    ada = ContactCard("Ada", "", phones=("2348179803743",), emails=("ada@example.org",))
    content = Content("Hi", location=Location("6.5", "3.2", "Lagos"), contact=ada)

    (part,) = _opened(hook, context).plan(content)

    assert part == Text(
        "Hi\nLagos: https://maps.google.com/?q=6.5,3.2\nAda\n+2348179803743\nada@example.org"
    )


def test_what_a_service_cannot_carry_is_said_beforehand(
    context: DriverContext, tmp_path: Path
) -> None:
    driver = _opened(SMS, context)

    for content in (Content(media=(picture(tmp_path),)), Content(template=Template("a", "en"))):
        with pytest.raises(UnsupportedContentError):
            driver.plan(content)


def test_a_message_is_sent_in_a_thread_and_must_not_be_repeated(
    hook: str, provider: Provider, context: DriverContext
) -> None:
    driver = _opened(hook, context)
    prepared = driver.prepare(Text("Hello"))
    sends = {each: driver.send(each, prepared, "d.0") for each in ("forbidden", "allowed")}
    ended = carry_out(context, sends, may_begin=lambda token: token == "allowed")

    assert [each.path for each in provider.requests] == ["/hook/allowed"]
    assert isinstance(ended["forbidden"].error, NotAllowedError)
    assert ended["allowed"].result == ""


FAULTS: list[tuple[Fault, type[SendError], float | None]] = [
    (instead(400), PermanentError, None),
    (instead(401), BlockedError, None),
    (instead(429), BlockedError, 60.0),
    (instead(500), UncertainError, None),
    (instead(503), RetryableError, 0.0),
    (lies.RESET_AFTER_BODY, UncertainError, None),
    (lies.GARBAGE, UncertainError, None),
    (lies.SILENCE, UncertainError, None),
]


@pytest.mark.parametrize(("fault", "kind", "wait"), FAULTS)
def test_a_failure_is_told_for_what_it_is(  # noqa: PLR0913, PLR0917 - fixtures and a row
    hook: str,
    provider: Provider,
    context: DriverContext,
    fault: Fault,
    kind: type[SendError],
    wait: float | None,
) -> None:
    hasty = replace(context, send_timeout=1.0)
    driver = _opened(hook, hasty if fault is lies.SILENCE else context)
    provider.choose = lambda _request: fault

    with pytest.raises(SendError) as caught:
        _send(driver, Text("Hello"))

    assert type(caught.value) is kind
    assert getattr(caught.value, "wait", None) == wait
    assert RECIPIENT not in caught.value.reason


def test_a_service_that_is_not_there_is_tried_later(context: DriverContext) -> None:
    driver = _opened("json://127.0.0.1:1/{to}", context)

    with pytest.raises(RetryableError):
        _send(driver, Text("Hello"))


def test_a_url_that_names_a_host_needs_the_operators_leave(
    hook: str, provider: Provider, context: DriverContext
) -> None:
    strict = replace(context, private_addresses=False)
    driver = _opened(hook, strict)

    for refused in (lambda: converse(driver.check()).result, lambda: _send(driver, Text("a"))):
        with pytest.raises(BlockedError, match="PRIVATE_ADDRESSES=true"):
            refused()

    assert provider.requests == []
    assert converse(_opened(SMS, strict).check()).error is None


@pytest.mark.parametrize("url", ["", "atalk://crier@key/123", "nosuch://{to}", "json://a b/{to}"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings().load({"url": url})


def test_neither_text_nor_url_reaches_the_services_log(hook: str, context: DriverContext) -> None:
    driver = _opened(hook, context)
    heard: list[logging.LogRecord] = []
    listener = _Listener(heard)
    root = logging.getLogger()
    before = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        _send(driver, Text("Hello"))
    finally:
        root.removeHandler(listener)
        root.setLevel(before)

    assert [record.getMessage() for record in heard] == []
