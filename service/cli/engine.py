"""Commands for the optional engine `procrastinate`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import click

from service.blueprints.context import crier
from service.cli.terminal import Group, ProcessCommand, insist_on_keys, insist_on_tables, paste
from service.dispatch import memory
from service.metrics import meters
from service.parts import make_dispatcher

engine = Group("engine", help="Set up the optional engine `procrastinate` (Postgres).")


@click.command("worker", cls=ProcessCommand)
def worker() -> None:
    """Process the jobs of DISPATCH=procrastinate, until SIGTERM or SIGINT."""
    parts = crier()
    if parts.settings.dispatch != "procrastinate":
        raise click.ClickException(
            "A worker needs DISPATCH=procrastinate, here and for the web workers. Without it, use"
            f" `{paste('dispatch')}`."
        )
    found = _engine()
    insist_on_tables()
    insist_on_keys()
    meters.share(parts.settings.metrics_dir)
    memory.settle()
    try:
        at_work = found.Engine(parts.settings, parts.database, make_dispatcher(parts))
        in_time = asyncio.run(at_work.run())
    except found.EngineError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if in_time else 1)


@engine.command("setup")
def set_up() -> None:
    """Create procrastinate's own tables. Crier's migrations do not include them."""
    database = crier().database
    if database.is_sqlite:
        raise click.ClickException(
            "The engine `procrastinate` needs Postgres: set DATABASE_URL. On SQLite, use"
            " DISPATCH=threads: the web workers send."
        )
    found = _engine()
    try:
        made = found.set_up(database)
    except found.EngineError as error:
        raise click.ClickException(str(error)) from error
    click.echo("The queue was created." if made else "The queue already exists.")


def _engine() -> Any:
    """Import the engine, or say how to install it."""
    try:
        return importlib.import_module("service.dispatch.procrastinate.engine")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"The engine `procrastinate` is not installed ({error.name} is missing):"
            " .venv/bin/pip install --require-hashes -r requirements-procrastinate.txt"
        ) from error
