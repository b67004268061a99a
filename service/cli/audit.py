"""The command that shows the audit log."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import click

from service.cli.terminal import Command, reading
from service.core import audit_entries, clients, moments
from service.core.audit_entries import AuditFilter
from service.core.paging import LARGEST_SIZE
from service.models import AuditEntry

_COLUMNS = (
    *("action", "source", "client_id", "object_id", "token_id"),
    *("address", "request_id", "changed", "detail"),
)


class Moment(click.DateTime):
    """A time in UTC, such as `2026-11-30` or `2026-11-30T14:00`, as Unix milliseconds."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Read a time."""
        return int(super().convert(value, param, ctx).replace(tzinfo=UTC).timestamp() * 1000)


@click.command("audit", cls=Command)
@click.argument("client", required=False)
@click.option("--action", help="Only this action, such as token.create.")
@click.option("--object", "object_id", help="Only what was done to the object of this id.")
@click.option("--token", "token_id", help="Only what was done with the token of this id.")
@click.option("--since", type=Moment(), help="Only what was done from then on, in UTC.")
@click.option("--until", type=Moment(), help="Only what was done before then, in UTC.")
@click.option("--limit", type=click.IntRange(1, LARGEST_SIZE), default=100, show_default=True)
def audit(client: str | None, limit: int, **wanted: Any) -> None:
    """Print the audit log of CLIENT, or of all, newest last, as one JSON object per line."""
    with reading() as db:
        client_id = clients.get(db, client).id if client else None
        newest = audit_entries.newest(db, AuditFilter(client_id, **wanted), limit)
        action = None if newest else wanted["action"]
        known = audit_entries.actions(db, client_id) if action else ()
    if action and action not in known:
        listed = f"It has {', '.join(known)}." if known else "It is empty."
        click.echo(f"The log has no entry of the action {action!r}. {listed}", err=True)
    for entry in reversed(newest):
        click.echo(_line(entry))


def _line(entry: AuditEntry) -> str:
    told = {name: value for name in _COLUMNS if (value := getattr(entry, name)) is not None}
    return json.dumps({"at": moments.show(entry.created_at), **told}, ensure_ascii=False)
