"""Keep replies, the opt-outs of a whole client, and the claims that are to be given up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_keep_replies"
down_revision = "0014_price_messages"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNSETTLED = sa.text("settled_at IS NULL")


def upgrade() -> None:
    """Add tables, and columns that the version before leaves as they are."""
    op.create_table(
        "client_opt_outs",
        sa.Column("client_id", ID, nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        _reference("client_opt_outs", "client_id", "clients"),
        sa.PrimaryKeyConstraint("client_id", "recipient", name="pk_client_opt_outs"),
    )
    op.create_table(
        "revoked_claims",
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=False),
        sa.Column("claim_id", ID, nullable=False),
        _reference("revoked_claims", "claim_id", "dispatchers"),
        sa.PrimaryKeyConstraint("delivery_id", "claimed_at", name="pk_revoked_claims"),
    )
    op.create_index("ix_revoked_claims_claim_id", "revoked_claims", ["claim_id"])
    _create_replies()
    op.add_column("opt_outs", sa.Column("source", sa.Text(), nullable=True))
    op.add_column("clients", sa.Column("opt_out_policy", sa.JSON(), nullable=True))
    zero = sa.text("0")
    op.add_column(
        "broadcasts", sa.Column("replies", sa.Integer(), nullable=False, server_default=zero)
    )


def _create_replies() -> None:
    op.create_table(
        "replies",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("session_id", ID, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("forms", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("context_id", sa.Text(), nullable=True),
        sa.Column("media", sa.JSON(), nullable=True),
        sa.Column("attachment_id", ID, nullable=True),
        sa.Column("opt_out", sa.Text(), nullable=True),
        sa.Column("confirmation", sa.Text(), nullable=True),
        sa.Column("broadcast_id", ID, nullable=True),
        sa.Column("delivery_id", ID, nullable=True),
        sa.Column("written_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("settled_at", MOMENT, nullable=True),
        _reference("replies", "client_id", "clients"),
        _reference("replies", "session_id", "sessions"),
        sa.PrimaryKeyConstraint("id", name="pk_replies"),
        sa.UniqueConstraint("session_id", "message_id", name="uq_replies_session_id_message_id"),
    )
    op.create_index("ix_replies_client_id_id", "replies", ["client_id", "id"])
    op.create_index("ix_replies_recipient_id", "replies", ["recipient", "id"])
    op.create_index("ix_replies_broadcast_id_id", "replies", ["broadcast_id", "id"])
    op.create_index("ix_replies_created_at", "replies", ["created_at"])
    op.create_index(
        "ix_replies_unsettled",
        "replies",
        ["id"],
        sqlite_where=UNSETTLED,
        postgresql_where=UNSETTLED,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("broadcasts", "replies")
    op.drop_column("clients", "opt_out_policy")
    op.drop_column("opt_outs", "source")
    for table in ("replies", "revoked_claims", "client_opt_outs"):
        op.drop_table(table)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{other}"
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete="CASCADE")
