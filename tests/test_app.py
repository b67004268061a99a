"""The application: whose word it takes for where a request comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import request

from service.app import Application, create_app
from service.config import SettingError, Settings

Asks = Callable[..., str]

CLAIMS = {
    "X-Forwarded-For": "198.51.100.1, 203.0.113.7",
    "X-Forwarded-Proto": "ftp, https",
    "X-Forwarded-Host": "evil.example, crier.example",
}


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Callable[[int], Asks]]:
    """Return what a request looks like behind so many proxies: address, scheme and host."""
    made: list[Application] = []

    def build(proxies: int) -> Asks:
        app = create_app(Settings(data_dir=tmp_path, dispatch="off", trusted_proxies=proxies))
        app.add_url_rule("/who", "who", lambda: f"{request.remote_addr} {request.root_url}")
        made.append(app)
        return lambda **headers: app.test_client().get("/who", headers=headers).text

    yield build
    for app in made:
        app.extensions["crier"].database.dispose()


def test_without_a_proxy_what_a_client_says_of_itself_is_not_believed(
    behind: Callable[[int], Asks],
) -> None:
    assert behind(0)(**CLAIMS) == "127.0.0.1 http://localhost/"


def test_behind_one_proxy_only_the_last_word_is_its(behind: Callable[[int], Asks]) -> None:
    assert behind(1)(**CLAIMS) == "203.0.113.7 https://crier.example/"


def test_behind_two_proxies_the_last_word_but_one_counts(behind: Callable[[int], Asks]) -> None:
    assert behind(2)(**CLAIMS) == "198.51.100.1 ftp://evil.example/"


def test_a_request_that_came_past_fewer_proxies_is_not_believed(
    behind: Callable[[int], Asks],
) -> None:
    assert behind(3)(**CLAIMS) == "127.0.0.1 http://localhost/"


@pytest.mark.parametrize("prefix", ["_attachments", "/files/", "/", "/a b", "/a\r\nSet-Cookie"])
def test_a_location_that_nginx_could_not_have_is_refused(prefix: str) -> None:
    with pytest.raises(SettingError, match="ACCEL_PREFIX"):
        Settings(accel_prefix=prefix)
