"""Sessions, as somebody without scripts makes one."""

from __future__ import annotations

import re

from service.console.sessions import TITLES
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

pytestmark = on_sqlite


def test_every_channel_has_a_name_and_is_explained(acme: Tenant) -> None:
    assert TITLES.keys() == set(acme.crier.accounts.channels.names())
    page = ConsoleUser(acme).get("/sessions/new").text
    explained = re.findall(r'channel=(\w+)">.*?<b>[^<]+</b><span class="muted small">[^<]+', page)
    assert set(explained) == TITLES.keys()
