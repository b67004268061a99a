"""Keep what the guide's own client sends: tokens of sessions, and its fields of contacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_know_the_guides_client"
down_revision = "0003_one_moment_per_hold"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")


def upgrade() -> None:
    """Add columns that may be empty: sessions have no token until somebody makes one."""
    op.add_column("sessions", sa.Column("token_digest", sa.Text(), nullable=True))
    op.create_index("uq_sessions_token_digest", "sessions", ["token_digest"], unique=True)
    op.add_column("attachments", sa.Column("session_id", ID, nullable=True))
    op.add_column("contacts", sa.Column("channel", sa.Text(), nullable=True))
    op.add_column(
        "groups", sa.Column("is_default", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("groups", "is_default")
    op.drop_column("contacts", "channel")
    op.drop_column("attachments", "session_id")
    op.drop_index("uq_sessions_token_digest", "sessions")
    op.drop_column("sessions", "token_digest")
