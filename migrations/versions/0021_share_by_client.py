"""Find the sessions that have something to send, however many broadcasts it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021_share_by_client"
down_revision = "0020_open_windows"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
_OPEN = sa.text("closed_at IS NULL")
_WAITING = "ix_recipient_chunks_session_id_broadcast_id"


def _index(name: str, columns: list[str]) -> None:
    op.create_index(name, "broadcasts", columns, sqlite_where=_OPEN, postgresql_where=_OPEN)


def upgrade() -> None:
    """Order open broadcasts and waiting recipients by session."""
    _index("ix_broadcasts_unfinished", ["status", "session_id", "id"])
    op.drop_index("ix_broadcasts_open", "broadcasts")
    column = sa.Column("session_id", ID, server_default=sa.text("''"), nullable=False)
    op.add_column("recipient_chunks", column)
    op.create_index(_WAITING, "recipient_chunks", ["session_id", "broadcast_id"])


def downgrade() -> None:
    """Order both by broadcast alone."""
    op.drop_index(_WAITING, "recipient_chunks")
    op.drop_column("recipient_chunks", "session_id")
    _index("ix_broadcasts_open", ["status", "id"])
    op.drop_index("ix_broadcasts_unfinished", "broadcasts")
