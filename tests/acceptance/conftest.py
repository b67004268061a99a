"""What whole stories are told with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from service.app import Application
from tests.provider import Provider
from tests.sending import QUICK, Sending


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Return a provider that lies when it is told to."""
    with Provider() as running:
        yield running


@pytest.fixture
def sending(make_app: Callable[..., Application], provider: Provider) -> Sending:
    """Return a client of the service whose sessions are on the provider."""
    return Sending(make_app(**QUICK), provider)
