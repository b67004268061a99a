"""The sandbox: a provider on this machine's disk, for trying things out and for tests."""

from service.channels.drivers.sandbox.driver import (
    FLAKY,
    MAGIC,
    RETRIED,
    SLOW,
    SLOWNESS,
    THROTTLED,
    UNCERTAIN,
    UNREACHABLE,
    Sandbox,
)
from service.channels.drivers.sandbox.store import (
    Message,
    Phone,
    Prepared,
    Store,
    conversation,
    extent,
    forget,
    phones,
    received,
)

__all__ = [
    "FLAKY",
    "MAGIC",
    "RETRIED",
    "SLOW",
    "SLOWNESS",
    "THROTTLED",
    "UNCERTAIN",
    "UNREACHABLE",
    "Message",
    "Phone",
    "Prepared",
    "Sandbox",
    "Store",
    "conversation",
    "extent",
    "forget",
    "phones",
    "received",
]
