"""Keep user ids, templates, what a provider says of an account, and what messages are charged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019_follow_vendors"
down_revision = "0018_send_samples"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add tables, and columns that may be empty."""
    op.create_table(
        "identities",
        sa.Column("client_id", ID, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        _reference("identities", "client_id", "clients"),
        sa.PrimaryKeyConstraint("client_id", "user_id", name="pk_identities"),
    )
    op.create_index("ix_identities_client_id_number", "identities", ["client_id", "number"])
    op.create_table(
        "templates",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("quality", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=True),
        sa.Column("updated_at", MOMENT, nullable=False),
        _reference("templates", "session_id", "sessions"),
        sa.PrimaryKeyConstraint("session_id", "name", "language", name="pk_templates"),
    )
    op.add_column("sessions", sa.Column("health", sa.JSON(), nullable=True))
    op.add_column("sessions", sa.Column("templates_at", MOMENT, nullable=True))
    op.add_column("deliveries", sa.Column("pricing", sa.Text(), nullable=True))
    op.add_column("waiting_receipts", sa.Column("pricing", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("waiting_receipts", "pricing")
    op.drop_column("deliveries", "pricing")
    op.drop_column("sessions", "templates_at")
    op.drop_column("sessions", "health")
    for table in ("templates", "identities"):
        op.drop_table(table)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{other}"
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete="CASCADE")
