"""Remember which process keeps the connection of a session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026_keep_links"
down_revision = "0025_limit_clients"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table, and an index for the links that go with a dispatcher."""
    op.create_table(
        "session_links",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("dispatcher_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["dispatcher_id"],
            ["dispatchers.id"],
            name="fk_session_links_dispatcher_id_dispatchers",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name="fk_session_links_session_id_sessions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", name="pk_session_links"),
    )
    op.create_index("ix_session_links_dispatcher_id", "session_links", ["dispatcher_id"])


def downgrade() -> None:
    """Forget them: nothing connects."""
    op.drop_table("session_links")
