"""Let the contacts of a group be written beside those in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032_write_rosters_in_pieces"
down_revision = "0031_bundle_receipts"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
HIDDEN = sa.text("roster < 0")


def upgrade() -> None:
    """Add the position from which on members are in force; all of now are from 0 on."""
    op.add_column("groups", sa.Column("roster", LONG, server_default="0", nullable=False))
    op.create_index(
        "ix_groups_hidden",
        "groups",
        ["created_at"],
        sqlite_where=HIDDEN,
        postgresql_where=HIDDEN,
    )
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("group_members", "position", type_=sa.BigInteger())


def downgrade() -> None:
    """Delete what is not in force, and count positions from 0 again."""
    op.execute("DELETE FROM groups WHERE roster < 0")
    op.execute("""
        DELETE FROM group_members WHERE NOT EXISTS (SELECT 1 FROM groups WHERE id = group_id
            AND position >= roster AND position < roster + 16777216)
    """)
    op.execute("""
        UPDATE group_members SET position = position
            - (SELECT roster FROM groups WHERE groups.id = group_id)
    """)
    op.drop_index("ix_groups_hidden", "groups")
    op.drop_column("groups", "roster")
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("group_members", "position", type_=sa.Integer())
