"""What campaigns of one sender have had beside each other."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # With a default of the database's: the version before goes on working while this one is rolled out.
    op.add_column("sender", sa.Column("floor", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("campaign_sender", sa.Column("had", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("campaign_sender", "had")
    op.drop_column("sender", "floor")
