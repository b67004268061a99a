"""Let a session have prices, by which a preview tells what a broadcast would cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_price_messages"
down_revision = "0013_keep_sign_ins"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the prices; null for none."""
    op.add_column("sessions", sa.Column("prices", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("sessions", "prices")
