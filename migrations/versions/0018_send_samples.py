"""Let a broadcast go to a sample first, and to the recipients of an earlier one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018_send_samples"
down_revision = "0017_describe_contacts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the size of the sample and the audience; null for none."""
    op.add_column("broadcasts", sa.Column("audience", sa.JSON(), nullable=True))
    op.add_column("broadcasts", sa.Column("sample", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Forget them: what waits for the end of a sample is sent."""
    op.drop_column("broadcasts", "sample")
    op.drop_column("broadcasts", "audience")
