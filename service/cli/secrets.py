"""Commands about the keys that the secrets of sessions are encrypted with."""

from __future__ import annotations

import click

from service import parts
from service.blueprints.context import crier
from service.cli.terminal import Group, paste, writing
from service.core import keys

secrets = Group("secrets", help="Encrypt the secrets of sessions anew, or give up a lost key.")


@secrets.command("rotate")
def rotate() -> None:
    """Encrypt all secrets with the first key of SECRET_KEY; the service may run meanwhile.

    When it says so, the other keys are not needed any more.
    """
    renewed = total = _pass()
    while renewed:  # Until nobody has written with another key meanwhile.
        renewed = _pass()
        total += renewed
    said = f"Sessions whose secrets were encrypted anew: {total}."
    if closed := parts.unopened(crier()):
        raise click.ClickException(f"{said} {closed.sentence()}")
    click.echo(f"{said} The first key opens all of them: SECRET_KEY needs no other.")


@secrets.command("forget")
@click.confirmation_option(
    prompt="The sessions that no key here opens stay blocked until they get new secrets. Go on?"
)
def forget() -> None:
    """Give up keys that are lost; their sessions stay blocked until they get new secrets."""
    with writing() as db:
        lost = keys.forget(db, crier().vault)
    for session_id, name in lost:
        click.echo(f"{session_id}  {name}")
    click.echo(
        f"{len(lost)} sessions need new secrets, by PUT /session/{{id}}. Should a key turn up, add"
        f" it to SECRET_KEY and run `{paste('secrets rotate')}`."
    )


def _pass() -> int:
    """Go through all secrets, a few in each transaction; return how many were encrypted anew."""
    return sum(map(_pass_through, keys.SEALED))


def _pass_through(table: keys.Sealed) -> int:
    parts, total, last = crier(), 0, ""
    while True:
        with writing() as db:
            turn = keys.renew(db, parts.vault, after=last, table=table)
        total += turn.renewed
        if turn.last is None:
            return total
        last = turn.last
