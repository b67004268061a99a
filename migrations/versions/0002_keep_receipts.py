"""Keep what providers say later, and what it takes to know whom they mean."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_keep_receipts"
down_revision = "0001_create_tables"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

QUEUE = """
    ALTER TABLE waiting_receipts SET (
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0)
"""
"""Vacuum by the number of dead rows, as with deliveries: this table is a queue too."""


def upgrade() -> None:
    """Add tables, and one column that may be empty: the version before this one can go on."""
    op.create_table(
        "waiting_receipts",
        sa.Column("id", ID, nullable=False),
        _session(),
        sa.Column("delivery_id", ID, nullable=True),
        sa.Column("part", sa.Integer(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        _of_session("waiting_receipts"),
        sa.PrimaryKeyConstraint("id", name="pk_waiting_receipts"),
    )
    op.create_index("ix_waiting_receipts_due_at", "waiting_receipts", ["due_at"])
    op.create_table(
        "sent_parts",
        _session(),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        _of_session("sent_parts"),
        sa.PrimaryKeyConstraint("session_id", "message_id", name="pk_sent_parts"),
    )
    op.create_table(
        "opt_outs",
        _session(),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        _of_session("opt_outs"),
        sa.PrimaryKeyConstraint("session_id", "recipient", name="pk_opt_outs"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(QUEUE)
    op.add_column("deliveries", sa.Column("progress", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("deliveries", "progress")
    for table in ("opt_outs", "sent_parts", "waiting_receipts"):
        op.drop_table(table)


def _session() -> sa.Column[str]:
    return sa.Column("session_id", ID, nullable=False)


def _of_session(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_session_id_sessions"
    return sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=name, ondelete="CASCADE")
