"""Count how deliveries are charged while their receipts are applied."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027_count_charges"
down_revision = "0026_keep_links"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table; what was charged before is not counted."""
    op.create_table(
        "charges",
        sa.Column("broadcast_id", ID, nullable=False),
        sa.Column("pricing", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["broadcast_id"],
            ["broadcasts.id"],
            name="fk_charges_broadcast_id_broadcasts",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("broadcast_id", "pricing", "country", name="pk_charges"),
    )


def downgrade() -> None:
    """Forget the counts."""
    op.drop_table("charges")
