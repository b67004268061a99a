"""Keep an audit log: who did what, with which token and from where."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022_keep_an_audit_log"
down_revision = "0021_share_by_client"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INDEXES = (["client_id", "id"], ["object_id"], ["token_id"])


def upgrade() -> None:
    """Create the table; the version before leaves it empty."""
    op.create_table(
        "audit_entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("client_id", ID, nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("object_id", ID, nullable=True),
        sa.Column("token_id", ID, nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("changed", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    for columns in _INDEXES:
        op.create_index(f"ix_audit_entries_{'_'.join(columns)}", "audit_entries", columns)


def downgrade() -> None:
    """Forget it."""
    op.drop_table("audit_entries")
