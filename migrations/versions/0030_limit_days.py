"""Let sessions send to so many people a day, and wait at random between messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030_limit_days"
down_revision = "0029_list_tokens"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the limit, its group and the jitter, null for none, and who was counted."""
    op.add_column("sessions", sa.Column("jitter", sa.JSON(), nullable=True))
    op.add_column("sessions", sa.Column("daily_limit", sa.Integer(), nullable=True))
    op.add_column("sessions", sa.Column("limit_group", sa.Text(), nullable=True))
    op.create_table(
        "limit_groups",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], "fk_limit_groups_client_id_clients", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_limit_groups"),
        sa.UniqueConstraint("client_id", "name", name="uq_limit_groups_client_id_name"),
    )
    op.create_table(
        "counted_recipients",
        sa.Column("limit_group_id", ID, nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("counted_at", MOMENT, nullable=False),
        sa.Column("is_single", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["limit_group_id"],
            ["limit_groups.id"],
            "fk_counted_recipients_limit_group_id_limit_groups",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("limit_group_id", "recipient", name="pk_counted_recipients"),
    )
    op.create_index(
        "ix_counted_recipients_limit_group_id_counted_at",
        "counted_recipients",
        ["limit_group_id", "counted_at"],
    )


def downgrade() -> None:
    """Forget them: nothing is counted, and what waits is sent when it is due."""
    op.drop_table("counted_recipients")
    op.drop_table("limit_groups")
    for name in ("limit_group", "daily_limit", "jitter"):
        op.drop_column("sessions", name)
