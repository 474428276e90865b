"""The pace of senders whose server asked them to slow down."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Only what may be empty: the version before goes on working while this one is rolled out.
    op.add_column("sender", sa.Column("slowed_to", sa.Double(), nullable=True))
    op.add_column("sender", sa.Column("slowed_from", sa.Double(), nullable=True))


def downgrade() -> None:
    for name in ("slowed_from", "slowed_to"):
        op.drop_column("sender", name)
