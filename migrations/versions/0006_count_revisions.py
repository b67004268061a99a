"""Count how often a broadcast was replaced, so that nobody sends what it said before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_count_revisions"
down_revision = "0005_mark_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count; the version before leaves it at 0 and replaces nothing."""
    column = sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("0"))
    op.add_column("broadcasts", column)


def downgrade() -> None:
    """Drop it."""
    op.drop_column("broadcasts", "revision")
