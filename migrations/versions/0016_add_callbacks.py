"""Tell clients what happens: callbacks, their events, and the queues of what waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016_add_callbacks"
down_revision = "0015_keep_replies"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WAITING = sa.text("status = 'waiting'")


def upgrade() -> None:
    """Create the tables; the version before leaves them empty."""
    op.create_table(
        "callbacks",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("sealed_by", sa.Text(), nullable=True),
        sa.Column("paused_at", MOMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.id"],
            name="fk_callbacks_client_id_clients",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_callbacks"),
    )
    op.create_index("ix_callbacks_client_id_id", "callbacks", ["client_id", "id"])
    op.create_table(
        "callback_events",
        sa.Column("id", ID, nullable=False),
        sa.Column("callback_id", ID, nullable=False),
        sa.Column("subject", ID, nullable=False),
        sa.Column("sequence", MOMENT, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["callback_id"],
            ["callbacks.id"],
            name="fk_callback_events_callback_id_callbacks",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_callback_events"),
    )
    op.create_index("ix_callback_events_callback_id_id", "callback_events", ["callback_id", "id"])
    op.create_index("ix_callback_events_created_at", "callback_events", ["created_at"])
    op.create_index(
        "ix_callback_events_waiting",
        "callback_events",
        ["callback_id", "subject", "sequence", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_table(
        "callback_queues",
        sa.Column("callback_id", ID, nullable=False),
        sa.Column("subject", ID, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["callback_id"],
            ["callbacks.id"],
            name="fk_callback_queues_callback_id_callbacks",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("callback_id", "subject", name="pk_callback_queues"),
    )
    op.create_index("ix_callback_queues_due_at", "callback_queues", ["due_at"])


def downgrade() -> None:
    """Forget all of it."""
    for table in ("callback_queues", "callback_events", "callbacks"):
        op.drop_table(table)
