"""List tokens, those of sessions among them: when they were used, and what replaced them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029_list_tokens"
down_revision = "0028_add_ways"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS = (("session_id", ID), ("replaced_by", ID), ("last_used_at", MOMENT))


def upgrade() -> None:
    """Move the tokens of sessions to those of clients; no release had them elsewhere."""
    for name, kind in _COLUMNS:
        op.add_column("tokens", sa.Column(name, kind, nullable=True))
    op.create_index("ix_tokens_session_id", "tokens", ["session_id"])
    op.execute("""
        INSERT INTO tokens (id, client_id, session_id, name, prefix, digest, scopes,
            created_at, updated_at, version)
        SELECT id, client_id, id, name, 'crier_session_', token_digest, '',
            created_at, updated_at, 0
        FROM sessions WHERE token_digest IS NOT NULL
    """)
    op.drop_index("uq_sessions_token_digest", "sessions")
    op.drop_column("sessions", "token_digest")


def downgrade() -> None:
    """Give each session its newest token back."""
    op.add_column("sessions", sa.Column("token_digest", sa.Text(), nullable=True))
    op.create_index("uq_sessions_token_digest", "sessions", ["token_digest"], unique=True)
    op.execute("""
        UPDATE sessions SET token_digest = (
            SELECT digest FROM tokens
            WHERE tokens.session_id = sessions.id AND revoked_at IS NULL AND replaced_by IS NULL
            ORDER BY tokens.id DESC LIMIT 1)
    """)
    op.execute("DELETE FROM tokens WHERE session_id IS NOT NULL")
    op.drop_index("ix_tokens_session_id", "tokens")
    for name, _ in reversed(_COLUMNS):
        op.drop_column("tokens", name)
