"""Keep receipts that came together in one row.

Version 1.0 goes on writing a row for each, which is applied. It knows nothing of rows with more:
it looks for what they are about, finds nothing, and leaves them for ten minutes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031_bundle_receipts"
down_revision = "0030_limit_days"
branch_labels = None
depends_on = None

BUNDLE = """
    UPDATE waiting_receipts SET words = CAST({array}({array}(state, message_id, delivery_id,
        coalesce(part, 0), pricing, coalesce(recipients, ''), kind, wait, code, reason, opted_out))
        AS text)
    WHERE pricing IS NOT NULL
"""


def upgrade() -> None:
    """Add the receipts of a row and how many they are; how they are charged is among them."""
    op.add_column("waiting_receipts", sa.Column("words", sa.Text(), nullable=True))
    op.add_column(
        "waiting_receipts", sa.Column("size", sa.Integer(), nullable=False, server_default="1")
    )
    is_postgres = op.get_context().dialect.name == "postgresql"
    op.execute(BUNDLE.format(array="json_build_array" if is_postgres else "json_array"))
    op.drop_column("waiting_receipts", "pricing")


def downgrade() -> None:
    """Forget what waits in such rows: providers say most of it again."""
    op.execute("DELETE FROM waiting_receipts WHERE words IS NOT NULL")
    op.add_column("waiting_receipts", sa.Column("pricing", sa.Text(), nullable=True))
    op.drop_column("waiting_receipts", "size")
    op.drop_column("waiting_receipts", "words")
