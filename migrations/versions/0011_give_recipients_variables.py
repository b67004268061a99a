"""Give recipients variables, which fill the placeholders of a message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_give_recipients_variables"
down_revision = "0010_keep_dated_holds"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them to the frozen recipients and to the deliveries; null for none."""
    op.add_column("recipient_chunks", sa.Column("variables", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("variables", sa.Text(), nullable=True))
    op.add_column("broadcasts", sa.Column("personalisation", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("broadcasts", "personalisation")
    op.drop_column("deliveries", "variables")
    op.drop_column("recipient_chunks", "variables")
