"""Describe contacts by fields and tags, groups by rules, and say how numbers are meant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017_describe_contacts"
down_revision = "0016_add_callbacks"
branch_labels = None
depends_on = None

_NEW = (
    ("contacts", "number", sa.Text()),
    ("contacts", "fields", sa.JSON()),
    ("contacts", "tags", sa.JSON()),
    ("groups", "rule", sa.JSON()),
    ("clients", "numbering", sa.JSON()),
    ("broadcasts", "numbering", sa.JSON()),
    ("broadcasts", "countries", sa.JSON()),
)
_NUMBER_POSTGRES = "UPDATE contacts SET number = phones->>0"
_NUMBER_SQLITE = "UPDATE contacts SET number = json_extract(phones, '$[0]')"


def upgrade() -> None:
    """Add the columns, null at first, and note the number by which each contact is found."""
    for table, name, kind in _NEW:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.execute(_NUMBER_POSTGRES if op.get_bind().dialect.name == "postgresql" else _NUMBER_SQLITE)
    op.create_index("ix_contacts_client_id_number", "contacts", ["client_id", "number"])


def downgrade() -> None:
    """Forget all of it."""
    op.drop_index("ix_contacts_client_id_number", "contacts")
    for table, name, _ in reversed(_NEW):
        op.drop_column(table, name)
