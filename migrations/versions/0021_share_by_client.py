"""Find the sessions and clients that have something to send, however many broadcasts it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021_share_by_client"
down_revision = "0020_open_windows"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
_OPEN = sa.text("closed_at IS NULL")
_OWNERS = ("client_id", "session_id")
_TURNS = "ix_recipient_chunks_client_id_session_id_broadcast_id"


def _index(name: str, columns: list[str]) -> None:
    op.create_index(name, "broadcasts", columns, sqlite_where=_OPEN, postgresql_where=_OPEN)


def upgrade() -> None:
    """Order open broadcasts by session, and waiting recipients by client and session."""
    _index("ix_broadcasts_unfinished", ["status", "session_id", "id"])
    op.drop_index("ix_broadcasts_open", "broadcasts")
    for name in _OWNERS:
        column = sa.Column(name, ID, server_default=sa.text("''"), nullable=False)
        op.add_column("recipient_chunks", column)
    op.create_index(_TURNS, "recipient_chunks", [*_OWNERS, "broadcast_id"])


def downgrade() -> None:
    """Order both by broadcast alone."""
    op.drop_index(_TURNS, "recipient_chunks")
    for name in _OWNERS:
        op.drop_column("recipient_chunks", name)
    _index("ix_broadcasts_open", ["status", "id"])
    op.drop_index("ix_broadcasts_unfinished", "broadcasts")
