"""Let broadcasts wait until their template can be used again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024_wait_for_templates"
down_revision = "0023_keep_files"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a broadcast waits for; null: nothing that ends by itself."""
    op.add_column("broadcasts", sa.Column("waits_for", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop it: such broadcasts stay paused."""
    op.drop_column("broadcasts", "waits_for")
