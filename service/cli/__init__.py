"""The command line: the operations that only the operator may run.

`flask --app wsgi COMMAND`; each command prints what it did, and secrets exactly once. A command's
module is imported on first use, because web workers never run one.
"""

from __future__ import annotations

import importlib
import logging

import click
from flask import Flask
from flask.cli import AppGroup

_COMMANDS = {
    "audit": "audit",
    "client": "clients",
    "console": "console",
    "dispatch": "processes",
    "engine": "engine",
    "migrate": "migrations",
    "purge": "retention",
    "secrets": "secrets",
    "token": "tokens",
    "welcome": "welcome",
    "worker": "engine",
}
"""The module of each command, in which it has its own name."""


class Commands(AppGroup):
    """The application's commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None where there is none of that name."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"{__name__}.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


def register(app: Flask) -> None:
    """Register the application's commands, in addition to those of its extensions."""
    # Its plugins announce themselves when it is imported, which is none of an operator's business.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    app.cli = Commands(app.name, commands=app.cli.commands)
