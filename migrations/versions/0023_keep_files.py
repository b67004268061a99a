"""Keep the files that people send with replies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023_keep_files"
down_revision = "0022_keep_an_audit_log"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HAS_FILE = sa.text("file_due_at IS NOT NULL")


def upgrade() -> None:
    """Add when a file is fetched, and which reply an attachment came with."""
    op.add_column("attachments", sa.Column("reply_id", ID, nullable=True))
    op.add_column("replies", sa.Column("file_due_at", MOMENT, nullable=True))
    attempts = sa.Column("file_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("replies", attempts)
    op.add_column("replies", sa.Column("file_problem", sa.Text(), nullable=True))
    op.create_index(
        "ix_replies_of_files",
        "replies",
        ["file_due_at"],
        sqlite_where=_HAS_FILE,
        postgresql_where=_HAS_FILE,
    )


def downgrade() -> None:
    """Drop them; the attachments stay."""
    op.drop_index("ix_replies_of_files", "replies")
    for name in ("file_problem", "file_attempts", "file_due_at"):
        op.drop_column("replies", name)
    op.drop_column("attachments", "reply_id")
