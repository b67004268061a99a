"""Commands about clients."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields

import click
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.cli.terminal import Group, Line, paste, reading, writing
from service.config import Settings
from service.core import clients, sessions, usages
from service.core.limits import MOST, Limit, of
from service.database import now_ms

SETTINGS = {setting.name: setting for setting in fields(Settings)}

client = Group("client", help="Create, list and disable clients (tenants).")


@client.command("create")
@click.argument("name", type=Line())
def create(name: str) -> None:
    """Create the client NAME, with a sandbox session for trying things out."""
    with writing() as db:
        client_id = make(db, name)
    following = paste(f"token create {shlex.quote(name)}")
    click.echo(f"Client {name} is {client_id}. Next: {following}")


@client.command("list")
def index() -> None:
    """List all clients, oldest first."""
    with reading() as db:
        for each in clients.every(db):
            disabled = "  disabled" if each.disabled_at else ""
            click.echo(f"{each.id}  {each.name}{disabled}")


@client.command("numbers")
@click.argument("name")
@click.option("--default-region", default="", help="Country of numbers without a code, such as NG.")
@click.option("--region", "regions", multiple=True, help="Country to send to; may be repeated.")
def numbers(name: str, default_region: str, regions: tuple[str, ...]) -> None:
    """Say how numbers of the client NAME are meant; without options, international ones."""
    with writing() as db:
        meant = clients.mean(db, name, default_region, regions)
    home = f"without a country code are of {meant.default_region}" if meant.default_region else ""
    within = f"must be of {', '.join(meant.regions)}" if meant.regions else ""
    said = " and ".join(filter(None, (home, within))) or "are international and of all countries"
    click.echo(f"Numbers of client {name} {said}.")


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each limit."""
    for each in reversed(Limit):
        name = f"--{each.replace('_', '-')}"
        about = SETTINGS[f"limit_{each}"].metadata["help"]
        command = click.option(name, each, type=click.IntRange(1, MOST), help=about)(command)
    return command


@client.command("limits")
@click.argument("name")
@click.option("--default", "usual", is_flag=True, help="First drop all limits of its own.")
@_options
def limits(name: str, usual: bool, **given: int | None) -> None:  # noqa: FBT001 - click passes a flag so
    """Show the limits and the usage of the client NAME, and set the given limits.

    Other limits stay. A limit below the present usage deletes nothing.
    """
    changes = dict.fromkeys(Limit) if usual else {}
    changes |= {Limit(each): most for each, most in given.items() if most is not None}
    with writing() as db:
        changed = clients.limit(db, name, changes)
        uses = usages.report(db, changed.id, crier().settings, now=now_ms())
    own = changed.limits or {}
    for each, most in of(crier().settings, own).items():
        used = f"{uses[each].used:,} of " if each in uses else ""
        source = "its own" if each in own else f"LIMIT_{each.upper()}"
        click.echo(f"{each}: {used}{most:,} ({source})")


@client.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Refuse all tokens of the client NAME and pause its broadcasts, until it is enabled."""
    paused = _change(clients.disable, name)
    click.echo(f"Client {name} is disabled; {paused} of its broadcasts are paused.")


@client.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Accept the tokens of the client NAME again, and continue its broadcasts."""
    resumed = _change(clients.enable, name)
    click.echo(f"Client {name} is enabled; {resumed} of its broadcasts continue.")


def _change(verb: Callable[..., int], name: str) -> int:
    """Disable or enable a client now; return how many broadcasts that concerns."""
    with writing() as db:
        return verb(db, name, now=now_ms())


def make(db: Db, name: str) -> str:
    """Store a client with a sandbox session; return its id."""
    made = clients.create(db, name)
    fields = {"name": "sandbox", "channel": "sandbox", "settings": {}}
    channels, vault = crier().accounts.channels, crier().vault
    sessions.create(db, made.id, fields, channels=channels, vault=vault)
    return made.id
