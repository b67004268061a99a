"""The command that dispatches in a separate process."""

from __future__ import annotations

import sys

import click

from service.blueprints.context import crier
from service.cli.terminal import ProcessCommand, insist_on_keys, insist_on_tables
from service.dispatch import process
from service.parts import make_dispatcher


@click.command("dispatch", cls=ProcessCommand)
def dispatch() -> None:
    """Send what the web workers accept, in a separate process, until SIGTERM or SIGINT."""
    parts = crier()
    insist_on_tables()
    insist_on_keys()
    in_time = process.work(make_dispatcher(parts), parts.settings, click.echo)
    sys.exit(0 if in_time else 1)
