"""Let a session say how many of its messages may be under way at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_limit_concurrency"
down_revision = "0008_disable_clients"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that may be empty: the version before this one can go on."""
    op.add_column("sessions", sa.Column("concurrency", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Forget the numbers."""
    op.drop_column("sessions", "concurrency")
