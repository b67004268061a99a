"""A Dramatiq message per recipient; run as a program, it enqueues them all."""

from __future__ import annotations

import os

import dramatiq  # type: ignore[import-not-found,unused-ignore]
from dramatiq.brokers.redis import (  # type: ignore[import-not-found,unused-ignore]
    RedisBroker,
)

from benchmarks.rivals import delivery

dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))


@dramatiq.actor  # type: ignore[untyped-decorator,unused-ignore]
def deliver(delivery_id: int, recipient: str) -> None:
    """Deliver one."""
    delivery.deliver(delivery_id, recipient)


if __name__ == "__main__":
    for each in delivery.pending():
        deliver.send(*each)
