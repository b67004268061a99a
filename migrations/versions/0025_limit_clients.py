"""Limit what clients store and use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025_limit_clients"
down_revision = "0024_wait_for_templates"
branch_labels = None
depends_on = None

_ID = sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql")
_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("closed_at IS NULL")

_SIZES = {
    "postgresql": ("octet_length(coalesce({0}, ''))", "octet_length(CAST({0} AS text))"),
    "sqlite": ("length(CAST(coalesce({0}, '') AS BLOB))", "length(CAST({0} AS BLOB))"),
}
_EMPTY = "CASE WHEN {0} IS NULL OR CAST({0} AS text) IN ('[]', '{{}}', 'null') THEN 0 ELSE {1} END"


def upgrade() -> None:
    """Add the limits and usages of clients, with what they have stored so far."""
    op.add_column("clients", sa.Column("limits", sa.JSON(), nullable=True))
    op.add_column("broadcasts", sa.Column("bytes", _COUNT, server_default="0", nullable=False))
    op.create_index(
        "ix_broadcasts_open_of_client",
        "broadcasts",
        ["client_id"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "usages",
        sa.Column("client_id", _ID, nullable=False),
        sa.Column("contacts", _COUNT, nullable=False),
        sa.Column("bytes", _COUNT, nullable=False),
        sa.Column("recipients", _COUNT, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.id"],
            name=op.f("fk_usages_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_usages")),
    )
    op.create_table(
        "shared_rates",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("spent_until", _COUNT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_shared_rates")),
    )
    op.create_index(op.f("ix_shared_rates_spent_until"), "shared_rates", ["spent_until"])
    op.execute(f"""
        INSERT INTO usages (client_id, contacts, bytes, recipients, day)
        SELECT id, (SELECT count(*) FROM contacts WHERE client_id = clients.id),
            (SELECT coalesce(sum(size), 0) FROM attachments WHERE client_id = clients.id)
            + (SELECT coalesce(sum({_size()}), 0) FROM contacts WHERE client_id = clients.id), 0, 0
        FROM clients
    """)  # noqa: S608 - the names are ours


def _size() -> str:
    """Return the size of a contact as an expression, as `core.usages` works it out."""
    text, json = _SIZES[op.get_bind().dialect.name]
    texts = [text.format(name) for name in ("name", "organisation", "channel")]
    lists = ("phones", "emails", "fields", "tags")
    return " + ".join([*texts, *(_EMPTY.format(name, json.format(name)) for name in lists)])


def downgrade() -> None:
    """Forget the limits and what is used."""
    op.drop_table("shared_rates")
    op.drop_table("usages")
    op.drop_index("ix_broadcasts_open_of_client", "broadcasts")
    op.drop_column("broadcasts", "bytes")
    op.drop_column("clients", "limits")
