"""Let an operator disable a client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_disable_clients"
down_revision = "0007_judge_receipts"
branch_labels = None
depends_on = None

MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the moment; the version before does not heed it."""
    op.add_column("clients", sa.Column("disabled_at", MOMENT, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("clients", "disabled_at")
