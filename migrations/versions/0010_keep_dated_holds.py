"""Keep the hold until a moment while a session is blocked, so that it counts again afterwards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_keep_dated_holds"
down_revision = "0009_limit_concurrency"
branch_labels = None
depends_on = None

MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the moment and its reason; the version before blocks without keeping them."""
    zero = sa.text("0")
    op.add_column("sessions", sa.Column("rests_until", MOMENT, nullable=False, server_default=zero))
    op.add_column("sessions", sa.Column("rest_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    """Forget both."""
    op.drop_column("sessions", "rest_reason")
    op.drop_column("sessions", "rests_until")
