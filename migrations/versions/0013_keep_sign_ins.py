"""Keep the browsers that are signed in to the console."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_keep_sign_ins"
down_revision = "0012_keep_histories"
branch_labels = None
depends_on = None

ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
MOMENT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table; the version before does not know of it."""
    op.create_table(
        "sign_ins",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("token_id", ID, nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("is_link", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], "fk_sign_ins_client_id_clients", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["token_id"], ["tokens.id"], "fk_sign_ins_token_id_tokens", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sign_ins"),
        sa.UniqueConstraint("digest", name="uq_sign_ins_digest"),
    )
    for column in ("client_id", "token_id", "expires_at"):
        op.create_index(f"ix_sign_ins_{column}", "sign_ins", [column])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("sign_ins")
