"""WhatsApp through WAHA, a self-hosted WhatsApp server (https://waha.devlike.pro)."""

from service.channels.drivers.waha.driver import Waha
from service.channels.drivers.waha.receipts import (
    SIGNATURE_HEADER,
    is_authentic,
    parse_report,
)

__all__ = ["SIGNATURE_HEADER", "Waha", "is_authentic", "parse_report"]
