"""A Celery task per recipient; run as a program, it enqueues them all."""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-untyped,import-not-found,unused-ignore]

from benchmarks.rivals import delivery

app = Celery("usual", broker=os.environ["BROKER"])
# A task that is lost when its worker dies would be no delivery: acknowledge when it is done.
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False


@app.task  # type: ignore[untyped-decorator,unused-ignore]
def deliver(delivery_id: int, recipient: str) -> None:
    """Deliver one."""
    delivery.deliver(delivery_id, recipient)


if __name__ == "__main__":
    for each in delivery.pending():
        app.send_task("benchmarks.rivals.celery_tasks.deliver", each)
