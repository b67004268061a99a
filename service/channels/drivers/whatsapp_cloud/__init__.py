"""WhatsApp through Meta's Cloud API.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
"""

from service.channels.drivers.whatsapp_cloud.driver import WhatsAppCloud
from service.channels.drivers.whatsapp_cloud.receipts import (
    SIGNATURE_HEADER,
    challenge,
    is_authentic,
    parse_report,
)

__all__ = [
    "SIGNATURE_HEADER",
    "WhatsAppCloud",
    "challenge",
    "is_authentic",
    "parse_report",
]
