"""Let broadcasts go on by other ways to those who were not reached."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028_add_ways"
down_revision = "0027_count_charges"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_IS_WAY = sa.text("parent_id IS NOT NULL")


def upgrade() -> None:
    """Add columns, null for a broadcast with one way, and the table of what is due."""
    for column in (
        sa.Column("fallback", sa.JSON(), nullable=True),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("first_way_id", ID, nullable=True),
    ):
        op.add_column("broadcasts", column)
    op.create_index(
        "uq_broadcasts_parent_id_step",
        "broadcasts",
        ["parent_id", "step"],
        unique=True,
        sqlite_where=_IS_WAY,
        postgresql_where=_IS_WAY,
    )
    op.create_table(
        "due_ways",
        sa.Column("id", ID, nullable=False),
        sa.Column("broadcast_id", ID, nullable=False),
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_due_ways"),
    )
    op.create_index("ix_due_ways_due_at_id", "due_ways", ["due_at", "id"])
    op.create_index("ix_due_ways_broadcast_id", "due_ways", ["broadcast_id"])
    op.create_index("ix_due_ways_delivery_id", "due_ways", ["delivery_id"])


def downgrade() -> None:
    """Forget the ways. What they are still to send is not sent."""
    op.drop_table("due_ways")
    op.drop_index("uq_broadcasts_parent_id_step", "broadcasts")
    for name in ("first_way_id", "step", "parent_id", "fallback"):
        op.drop_column("broadcasts", name)
