"""What a URL of Apprise's may say: nothing that loads, reads or runs, nothing unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from service.channels.base import Account, DriverContext
from service.channels.content import Text
from service.channels.errors import BlockedError, SendError
from tests.channels.conftest import Memory
from tests.channels.conversing import converse
from tests.provider import Provider, instead

pytest.importorskip("apprise", reason="the optional package apprise is not installed")

from apprise.apprise_attachment import AppriseAttachment
from apprise.manager_plugins import NotificationManager

from service.channels.drivers.apprise import Apprise, Settings
from service.channels.drivers.apprise.services import HOSTED, OPTIONS

# Apprise loads all its services at once, and a library of one of them uses imghdr.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

HARMFUL = frozenset(
    {
        *("verify", "redirect"),  # TLS unchecked; credentials sent on to another host
        *("retry", "wait", "optional"),  # sent twice; a failure that is told as a success
        *("cc", "bcc"),  # recipients whom nobody asked for their consent
        *("cto", "rto", "store"),  # the operator's time limits and disk
        "image",  # Apprise's own picture, read from the disk
    }
)
"""Options that no service takes, each looked at."""

HARMFUL_TO = {
    **dict.fromkeys(("discord", "slack", "tgram"), "template :"),  # a file or URL to load
    **dict.fromkeys(("mailgun", "sparkpost"), "+ :"),  # headers, which may name recipients
    "smtp2go": "+",
    **dict.fromkeys(("form", "forms"), "attach-as"),
    **dict.fromkeys(("mailto", "mailtos"), "pgp pgppub pgpprv wkd inline +"),
    **dict.fromkeys(("matrix", "matrixs"), "discovery hsreq e2ee autoverify"),
    **dict.fromkeys(("ntfy", "ntfys"), "attach avatar_url filename"),
}
"""Options that one service does not take: it would load, read or ask another host."""

URLS = (
    "atalk://crier@a1b2c3d4e5f6a7b8c9/{to}",
    "brevo://abcdefghijklmnop:crier@example.org/{to}@example.org",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js/?thread={to}",
    "pbul://o.gn5kj6nfhv736I7jC3cj3QLRiyhgl98b/{to}",
    "pover://u4k7fn2b9xq3wz8v5t6y1r0s2d4g6h@a8m3n5b7v9c1x2z4l6k8j0h2g4f6d8/{to}",
    "sendgrid://abcdefghijklmnop-abc:crier@example.org/{to}@example.org",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/@{to}",
    "tgram://123456789:abcdefg_hijklmnopqrstuvwxyz0123456/{to}",
)

SLACK = URLS[6]


def managed(service: str) -> Any:
    return NotificationManager()[service]


def declared(service: str) -> set[str]:
    """Return all parameters that Apprise knows for a service, and the marks of its free ones."""
    marks = {kind["prefix"] for kind in managed(service).template_kwargs.values()}
    return {*managed(service).template_args, *marks}


def known_names() -> set[str]:
    """Return the parameters of all services that Apprise has."""
    plugins: Any = NotificationManager().plugins()
    return {name for plugin in plugins for name in plugin.template_args}


def with_option(url: str, name: str, value: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"


def sent(url: str, context: DriverContext) -> SendError | None:
    """Send a text by a URL that nobody checked before, as one that was stored long ago."""
    driver = Apprise(Account("s", {"url": url}, Memory()), context)
    error = converse(driver.send("12025550110", driver.prepare(Text("Hi")), "d.0")).error
    assert error is None or isinstance(error, SendError)
    return error


@pytest.mark.parametrize("service", sorted(OPTIONS))
def test_each_parameter_that_apprise_has_for_a_service_was_looked_at(service: str) -> None:
    refused = HARMFUL | set(HARMFUL_TO.get(service, "").split())

    assert declared(service) - OPTIONS[service] - refused == set()
    assert OPTIONS[service] & refused == set()


@pytest.mark.parametrize("url", URLS)
def test_no_option_of_any_service_is_let_through_to_another(url: str) -> None:
    Settings().load({"url": url})
    allowed = OPTIONS[url.partition(":")[0]]
    for name in known_names() - allowed | {"include", "config", "+Bcc", "-x", ":x"}:
        if name[0] in allowed:
            continue
        with pytest.raises(ValidationError, match="is not allowed"):
            Settings().load({"url": with_option(url, name, "1")})


@pytest.mark.parametrize("url", URLS)
def test_no_option_that_is_allowed_loads_what_it_names(
    url: str, provider: Provider, context: DriverContext
) -> None:
    """Everything leaves by the provider as a proxy, so that it sees what was asked for."""
    context = replace(context, proxy=provider.url)
    for name in OPTIONS[url.partition(":")[0]]:
        sent(with_option(url, name, f"{provider.url}/loaded"), context)

    assert {each.method for each in provider.requests} == {"CONNECT"}
    assert not [each for each in provider.requests if "127.0.0.1" in each.path]


@pytest.mark.parametrize("name", ["template", "TEMPLATE", "%74emplate", " template", "x;template"])
def test_a_stored_url_that_loads_a_template_is_not_used(
    name: str, provider: Provider, context: DriverContext
) -> None:
    error = sent(with_option(SLACK, name, f"{provider.url}/t.json"), context)

    assert isinstance(error, BlockedError)
    assert "'template' is not allowed" in error.reason
    assert provider.requests == []


def test_apprise_itself_loads_neither_file_nor_url(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("secret")

    assert AppriseAttachment().add(f"{provider.url}/t.json") is False
    assert AppriseAttachment().add("https://example.org/a") is False
    with pytest.raises(KeyError):
        AppriseAttachment().add(str(file))
    assert provider.requests == []


@pytest.mark.parametrize(
    "url",
    ["syslog://{to}", "dbus://{to}", "windows://{to}", "macosx://{to}", "apprise://localhost/{to}"],
)
def test_a_service_that_is_not_among_ours_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="one of these services"):
        Settings().load({"url": url})


def test_each_hosted_service_is_one_that_apprise_has() -> None:
    assert {service for service in HOSTED if service not in NotificationManager()} == set()


@pytest.fixture
def leads_here(monkeypatch: pytest.MonkeyPatch, provider: Provider) -> None:
    """Let every name lead to the provider, as a resolver does that somebody else owns."""
    here = (2, 1, 6, "", ("127.0.0.1", provider.port))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_rest, **_named: [here])


@pytest.mark.usefixtures("leads_here")
@pytest.mark.parametrize("proxied", [False, True])
def test_a_hosted_service_whose_name_leads_to_a_private_address_is_not_called(
    provider: Provider, tmp_path: Path, *, proxied: bool
) -> None:
    proxy = provider.url if proxied else ""

    error = sent(SLACK, DriverContext(tmp_path, proxy=proxy))

    assert isinstance(error, BlockedError)
    assert error.code == "address"
    assert "127.0.0.1 is a private address" in error.reason
    assert (provider.requests, provider.connections) == ([], 0)


def test_a_call_leaves_by_the_proxy_of_the_settings(provider: Provider, tmp_path: Path) -> None:
    context = DriverContext(tmp_path, proxy=provider.url, private_addresses=True)

    sent("json://nobody.example/hook/{to}", context)

    (asked,) = provider.requests
    assert asked.headers["host"] == "nobody.example"


def test_a_call_does_not_leave_by_the_proxy_of_the_environment(
    provider: Provider, context: DriverContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    sent(provider.url.replace("http:", "json:") + "/hook/{to}", context)

    assert [each.path for each in provider.requests] == ["/hook/12025550110"]


def test_mail_is_not_sent_around_a_proxy(tmp_path: Path) -> None:
    context = DriverContext(tmp_path, proxy="http://127.0.0.1:1", private_addresses=True)

    error = sent("mailto://a:b@127.0.0.1:1?to={to}@example.org", context)

    assert isinstance(error, BlockedError)
    assert error.code == "proxy"


def test_a_redirect_is_not_followed(provider: Provider, context: DriverContext) -> None:
    provider.choose = lambda _request: instead(307, Location=f"{provider.url}/moved")

    assert sent(provider.url.replace("http:", "json:") + "/hook/{to}", context) is not None

    assert [each.path for each in provider.requests] == ["/hook/12025550110"]
