"""Keep of what holds a session one moment, from which its status follows.

SQLite changes no column in place, and would take all that hangs on a session with its table were
that made anew: hence a new column beside the old ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_one_moment_per_hold"
down_revision = "0002_keep_receipts"
branch_labels = None
depends_on = None

MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FOREVER = 253_402_300_799_999


def upgrade() -> None:
    """Turn a status with its end into the end alone; a web worker of before has to be restarted."""
    op.execute("ALTER TABLE sessions RENAME COLUMN reason TO hold_reason")
    op.execute("ALTER TABLE sessions RENAME COLUMN held_until TO former_end")
    op.add_column(
        "sessions", sa.Column("held_until", MOMENT, nullable=False, server_default=sa.text("0"))
    )
    op.execute(
        f"UPDATE sessions SET held_until = CASE status WHEN 'blocked' THEN {FOREVER}"  # noqa: S608
        " WHEN 'throttled' THEN COALESCE(former_end, 0) ELSE 0 END"
    )
    op.drop_column("sessions", "former_end")
    op.drop_column("sessions", "status")


def downgrade() -> None:
    """Turn the end into a status with its end again."""
    op.add_column(
        "sessions", sa.Column("status", sa.Text(), nullable=False, server_default="ready")
    )
    op.execute("ALTER TABLE sessions RENAME COLUMN held_until TO former_end")
    op.add_column("sessions", sa.Column("held_until", MOMENT, nullable=True))
    op.execute(
        f"UPDATE sessions SET status = CASE WHEN former_end = {FOREVER} THEN 'blocked'"  # noqa: S608
        " WHEN former_end > 0 THEN 'throttled' ELSE 'ready' END,"
        f" held_until = CASE WHEN former_end IN (0, {FOREVER}) THEN NULL ELSE former_end END"
    )
    op.drop_column("sessions", "former_end")
    op.execute("ALTER TABLE sessions RENAME COLUMN hold_reason TO reason")
