"""Let broadcasts and sessions send at some days and hours only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020_open_windows"
down_revision = "0019_follow_vendors"
branch_labels = None
depends_on = None

MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = ("broadcasts", "sessions")
_FOREVER = sa.text("253402300799999")


def upgrade() -> None:
    """Add the window, null for none, and when it opens and closes: without one, never."""
    for table in _TABLES:
        op.add_column(table, sa.Column("window", sa.JSON(), nullable=True))
        for name, default in (("opens_at", sa.text("0")), ("closes_at", _FOREVER)):
            column = sa.Column(name, MOMENT, server_default=default, nullable=False)
            op.add_column(table, column)


def downgrade() -> None:
    """Forget them: what waits is sent."""
    for table in _TABLES:
        for name in ("closes_at", "opens_at", "window"):
            op.drop_column(table, name)
