"""Keep what a delivery's row forgets, and how counters moved; find deliveries by recipient."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_keep_histories"
down_revision = "0011_give_recipients_variables"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTED = ("sent", "delivered", "read", "failed", "cancelled", "uncertain")
REFUSED = sa.text("status IN ('failed', 'uncertain')")


def upgrade() -> None:
    """Add two moments, two indexes and two tables; the version before fills none of them."""
    op.add_column("deliveries", sa.Column("delivered_at", MOMENT, nullable=True))
    op.add_column("deliveries", sa.Column("read_at", MOMENT, nullable=True))
    op.create_index("ix_deliveries_recipient_id", "deliveries", ["recipient", "id"])
    op.create_index(
        "ix_deliveries_refused",
        "deliveries",
        ["broadcast_id", "status", "code", "id"],
        sqlite_where=REFUSED,
        postgresql_where=REFUSED,
    )
    zero = sa.text("0")
    op.create_table(
        "delivery_events",
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False, autoincrement=False, server_default=zero),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("other_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", "at", "kind", "part", name="pk_delivery_events"),
    )
    op.create_table(
        "timeline_buckets",
        sa.Column("broadcast_id", ID, nullable=False),
        sa.Column("start", MOMENT, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default=zero) for name in COUNTED),
        sa.ForeignKeyConstraint(
            ["broadcast_id"],
            ["broadcasts.id"],
            name="fk_timeline_buckets_broadcast_id_broadcasts",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("broadcast_id", "start", name="pk_timeline_buckets"),
    )


def downgrade() -> None:
    """Forget all of it."""
    op.drop_table("timeline_buckets")
    op.drop_table("delivery_events")
    op.drop_index("ix_deliveries_refused", "deliveries")
    op.drop_index("ix_deliveries_recipient_id", "deliveries")
    op.drop_column("deliveries", "read_at")
    op.drop_column("deliveries", "delivered_at")
