"""Keep of a receipt what it takes to judge its failure, and find a session's own receipts at once.

Nothing of the version before is lost: it goes on writing rows without the new columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_judge_receipts"
down_revision = "0006_count_revisions"
branch_labels = None
depends_on = None

_COLUMNS = {"recipients": sa.Text(), "kind": sa.Text(), "wait": sa.Double()}


def upgrade() -> None:
    """Add columns that may be empty; the index by session takes the place of the one by time."""
    for name, kind in _COLUMNS.items():
        op.add_column("waiting_receipts", sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_waiting_receipts_session_id_due_at", "waiting_receipts", ["session_id", "due_at"]
    )
    op.drop_index("ix_waiting_receipts_due_at", "waiting_receipts")


def downgrade() -> None:
    """Take them away."""
    op.create_index("ix_waiting_receipts_due_at", "waiting_receipts", ["due_at"])
    op.drop_index("ix_waiting_receipts_session_id_due_at", "waiting_receipts")
    for name in _COLUMNS:
        op.drop_column("waiting_receipts", name)
