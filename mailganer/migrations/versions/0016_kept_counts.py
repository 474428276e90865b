"""Kept counts of subscribers by list and status, instead of counting them for each page."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FOREIGN_KEY = "fk_subscriber_count_account_id_account"

COUNTED = (
    "INSERT INTO subscriber_count (account_id, list_id, status, number, stamp)"
    " SELECT account_id, NULL, status, count(*), 0 FROM subscriber GROUP BY account_id, status",
    "INSERT INTO subscriber_count (account_id, list_id, status, number, stamp)"
    " SELECT subscriber.account_id, list_id, status, count(*), 0"
    " FROM list_member JOIN subscriber ON subscriber.id = subscriber_id"
    " GROUP BY subscriber.account_id, list_id, status",
)


def upgrade() -> None:
    of_account = sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=FOREIGN_KEY, ondelete="CASCADE")
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "subscriber_count",
        sa.Column("id", meta.BigId, autoincrement=True, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        *([] if postgresql else [of_account]),
        sa.PrimaryKeyConstraint("id", name="pk_subscriber_count"),
    )
    op.create_index("ix_subscriber_count_list_id_account_id", "subscriber_count", ["list_id", "account_id"])
    # Counting locks nothing. What the version before changes meanwhile is corrected by the first reconciling.
    for statement in COUNTED:
        op.execute(statement)
    if postgresql:  # last, because writers of account wait for it
        op.create_foreign_key(
            FOREIGN_KEY, "subscriber_count", "account", ["account_id"], ["id"], ondelete="CASCADE"
        )


def downgrade() -> None:
    op.drop_table("subscriber_count")
