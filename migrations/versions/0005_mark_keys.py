"""Mark of each session's secrets the key that encrypted them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_mark_keys"
down_revision = "0004_know_the_guides_client"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark; null stands for secrets that an older version has encrypted."""
    op.add_column("sessions", sa.Column("sealed_by", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take the mark away."""
    op.drop_column("sessions", "sealed_by")
