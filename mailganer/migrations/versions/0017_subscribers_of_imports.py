"""Which import added a subscriber, in the subscriber's row."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

CHANGES = sa.table(
    "import_change",
    *map(sa.column, ("import_id", "subscriber_id", "created", "joined", "before")),
)
SUBSCRIBERS = sa.table("subscriber", sa.column("id"), sa.column("import_id"))


def upgrade() -> None:
    op.add_column("subscriber", sa.Column("import_id", sa.BigInteger(), nullable=True))
    op.add_column("import", sa.Column("added_from", sa.BigInteger(), nullable=True))
    op.add_column("import", sa.Column("added_to", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    # The version before undoes an import by one row for each subscriber.
    added = sa.select(
        SUBSCRIBERS.c.import_id, SUBSCRIBERS.c.id, sa.literal(True), sa.literal(True), sa.null()
    ).where(SUBSCRIBERS.c.import_id.is_not(None))
    op.execute(CHANGES.insert().from_select([column.name for column in CHANGES.c], added))
    op.drop_column("import", "added_to")
    op.drop_column("import", "added_from")
    op.drop_column("subscriber", "import_id")
