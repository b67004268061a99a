"""Commands for the keys that encrypt the secrets of sessions."""

from __future__ import annotations

import click

from service import parts
from service.blueprints.context import crier
from service.cli.terminal import Group, paste, writing
from service.core import keys

secrets = Group("secrets", help="Re-encrypt the secrets of sessions, or give up a lost key.")


@secrets.command("rotate")
def rotate() -> None:
    """Encrypt all secrets with the first key of SECRET_KEY, while the service runs.

    Afterwards the other keys are no longer needed, if the command says so.
    """
    renewed = total = _pass()
    while renewed:  # another process may have written with another key in the meantime
        renewed = _pass()
        total += renewed
    said = f"Re-encrypted the secrets of {total} sessions."
    if closed := parts.unopened(crier()):
        raise click.ClickException(f"{said} {closed.sentence()}")
    click.echo(f"{said} The first key decrypts all of them: SECRET_KEY needs no other.")


@secrets.command("forget")
@click.confirmation_option(
    prompt="Sessions without a key stay blocked until they get new secrets. Continue?"
)
def forget() -> None:
    """Give up lost keys. Their sessions stay blocked until they get new secrets."""
    with writing() as db:
        lost = keys.forget(db, crier().vault)
    for session_id, name in lost:
        click.echo(f"{session_id}  {name}")
    click.echo(
        f"{len(lost)} sessions need new secrets: send them with PUT /session/{{id}}. If you find a"
        f" key, add it to SECRET_KEY and run `{paste('secrets rotate')}`."
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
