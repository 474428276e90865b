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
IMPORTS = sa.table("import", sa.column("id"), sa.column("added_from"), sa.column("added_to"))


def upgrade() -> None:
    op.add_column("subscriber", sa.Column("import_id", sa.BigInteger(), nullable=True))
    op.add_column("import", sa.Column("added_from", sa.BigInteger(), nullable=True))
    op.add_column("import", sa.Column("added_to", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    # The version before undoes an import by one row for each subscriber.
    # An id outside the range is that of an import that was deleted.
    added = sa.select(
        SUBSCRIBERS.c.import_id, SUBSCRIBERS.c.id, sa.literal(True), sa.literal(True), sa.null()
    ).where(
        SUBSCRIBERS.c.import_id == IMPORTS.c.id,
        SUBSCRIBERS.c.id.between(IMPORTS.c.added_from, IMPORTS.c.added_to),
    )
    op.execute(CHANGES.insert().from_select([column.name for column in CHANGES.c], added))
    op.drop_column("import", "added_to")
    op.drop_column("import", "added_from")
    op.drop_column("subscriber", "import_id")
