"""The command that dispatches in a separate process."""

from __future__ import annotations

import signal
import sys
import threading

import click

from service.blueprints.context import crier
from service.cli.terminal import ProcessCommand, insist_on_keys, insist_on_tables
from service.dispatch import memory, stop_notice
from service.metrics import meters


@click.command("dispatch", cls=ProcessCommand)
def dispatch() -> None:
    """Send what the web workers accept, in a separate process, until SIGTERM or SIGINT."""
    parts = crier()
    insist_on_tables()
    insist_on_keys()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    meters.share(parts.settings.metrics_dir)
    memory.settle()
    parts.dispatcher.start()
    while not ended.wait(1.0):
        pass
    with stop_notice.shown(click.echo, parts.settings.grace):
        in_time = parts.dispatcher.stop(parts.settings.grace)
    sys.exit(0 if in_time else 1)
