"""An index of the batches that are not done: what a tick looks for is found without reading the rest."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    unfinished = sa.text("state <> 'done'")
    # Locks batch: it has a row for thousands of recipients, so for a second at most. To build the index
    # CONCURRENTLY there would have to be no transaction, and all migrations are one.
    op.create_index(
        "ix_batch_unfinished",
        "batch",
        ["state", "campaign_id"],
        unique=False,
        postgresql_where=unfinished,
        sqlite_where=unfinished,
    )


def downgrade() -> None:
    op.drop_index("ix_batch_unfinished", table_name="batch")
