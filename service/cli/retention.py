"""The command that deletes old broadcasts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar

import click

from service.blueprints.context import crier
from service.cli.terminal import Command
from service.database import milliseconds, now_ms
from service.dispatch.upkeep.purge import Purge
from service.waits import waiting


class Age(click.ParamType[int]):
    """A duration such as `90d`, converted to milliseconds."""

    name = "age"
    _UNITS: ClassVar = {"h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Read a number and its unit."""
        match = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 12h, 90d or 8w.", param, context)
        return int(match[1]) * self._UNITS[match[2]]


@click.command("purge", cls=Command)
@click.option(
    "--older-than",
    "age",
    required=True,
    type=Age(),
    help="Hours, days or weeks, such as 12h, 90d or 8w.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def purge(age: int, dry_run: bool) -> None:  # noqa: FBT001 - click passes a flag so
    """Delete broadcasts that were closed that long ago, with their deliveries.

    Besides: replies and messages of the sandbox of that age, receipts that name nothing of ours,
    files that a crash left behind, and entries of the audit log that are older than
    AUDIT_RETENTION.
    """
    parts = crier()
    before = now_ms() - age
    audited_before = now_ms() - milliseconds(parts.settings.audit_retention)
    forgetting = Purge(
        *(parts.database, parts.storage, parts.settings.sandbox_store),
        before=before,
        audited_before=audited_before,
    )
    with waiting():
        gone = forgetting.look() if dry_run else forgetting.run()
    moment = datetime.fromtimestamp(before / 1000, UTC)
    click.echo(
        f"{'Would delete' if dry_run else 'Deleted'} {gone.broadcasts} broadcasts closed before"
        f" {moment:%Y-%m-%d %H:%M} UTC with {gone.deliveries} deliveries, {gone.receipts} receipts"
        f" and {gone.files} files; {gone.replies} replies and"
        f" {gone.sandbox} messages of the sandbox from before then."
        f" {gone.entries} entries of the audit log that are older than AUDIT_RETENTION."
    )
