"""What the settings of channels have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.channels.base import DriverContext
from service.channels.registry import DRIVERS, Channels
from service.channels.settings import BaseUrl, servers

SMS = ("sender", "links", "tidy")

LOOKED_AT = {
    "sandbox": {"idempotent", "latency", "unreachable"},
    "waha": {"session", "files", "resolve", "keep_files"},
    "whatsapp_cloud": {
        *("phone_number_id", "business_account_id", "version", "preview_url", "keep_files"),
    },
    "apprise": set(),
    "twilio": {"account_sid", "messaging_service_sid", *SMS},
    "africas_talking": {"username", *SMS},
    "http_gateway": {
        *SMS,
        *("path", "format", "headers", "body", "plus", "alphabets", "check"),
        *("accepted", "id", "code", "reason", "codes", "receipt", "inbound", "batch"),
    },
    "smpp": {
        *SMS,
        *("system_id", "system_type", "service_type", "language"),
        *("receipts", "receipt_ids", "source_ton", "source_npi"),
        *("destination_ton", "destination_npi"),
    },
}
"""Settings that do not decide to which server secrets are sent."""


@pytest.mark.parametrize("channel", sorted(DRIVERS))
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_setting_is_an_address_or_a_secret_or_decides_no_server(
    channel: str, tmp_path: Path
) -> None:
    channels = Channels(DriverContext(tmp_path))
    if channel not in channels.names():
        pytest.skip("the optional package is not installed")
    declared = channels.settings_schema(channel)().fields
    addresses = {name for name, field in declared.items() if isinstance(field, BaseUrl)}

    assert declared.keys() - addresses - channels.secret_fields(channel) == LOOKED_AT[channel]
    assert servers(channels.settings_schema(channel), {}).keys() == addresses
