"""Add what the next version of the service might want: columns that may be empty, with indexes.

It follows on the project's newest migration, whichever that is, and alters the two tables that are
never at rest.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

VERSIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"

revision = "chaos_add_notes"
down_revision = max(path.stem for path in VERSIONS.glob("[0-9]*.py"))
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them: the version before this one can go on."""
    for table in ("deliveries", "broadcasts"):
        op.add_column(table, sa.Column("note", sa.Text(), nullable=True))
        op.create_index(f"ix_{table}_note", table, ["note"])


def downgrade() -> None:
    """Drop them; SQLite makes `deliveries` anew, as nothing hangs on its rows."""
    for table in ("broadcasts", "deliveries"):
        op.drop_index(f"ix_{table}_note", table)
    op.drop_column("broadcasts", "note")
    with op.batch_alter_table("deliveries") as batch:
        batch.drop_column("note")
