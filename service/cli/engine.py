"""Commands about the engine `procrastinate`, an extra."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import click

from service.blueprints.context import crier
from service.cli.terminal import Command, Group, insist_on_keys, insist_on_tables, paste
from service.dispatch import memory
from service.metrics import meters

engine = Group("engine", help="Set up the engine `procrastinate`, an extra (Postgres).")


@click.command("worker", cls=Command)
def worker() -> None:
    """Work through the jobs that DISPATCH=procrastinate leaves, until SIGTERM or SIGINT."""
    parts = crier()
    if parts.settings.dispatch != "procrastinate":
        raise click.ClickException(
            "A worker has nothing to do unless DISPATCH=procrastinate is set, here as for the web"
            f" workers; `{paste('dispatch')}` needs no jobs."
        )
    found = _engine()
    insist_on_tables()
    insist_on_keys()
    meters.share(parts.settings.metrics_dir)
    memory.settle()
    try:
        at_work = found.Engine(parts.settings, parts.database, parts.dispatcher)
        in_time = asyncio.run(at_work.run())
    except found.EngineError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if in_time else 1)


@engine.command("setup")
def set_up() -> None:
    """Create the tables of the queue, procrastinate's own; they are no part of our migrations."""
    database = crier().database
    if database.is_sqlite:
        raise click.ClickException(
            "The engine `procrastinate` keeps its queue in Postgres: set DATABASE_URL. On SQLite"
            " the web workers send by themselves (DISPATCH=threads)."
        )
    found = _engine()
    try:
        made = found.set_up(database)
    except found.EngineError as error:
        raise click.ClickException(str(error)) from error
    click.echo("The queue is there." if made else "The queue was there already.")


def _engine() -> Any:
    """Import the engine, or say what it needs: it is an extra."""
    try:
        return importlib.import_module("service.dispatch.procrastinate.engine")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"The engine `procrastinate` is not installed ({error.name} is missing):"
            " .venv/bin/pip install --require-hashes -r requirements-procrastinate.txt"
        ) from error
