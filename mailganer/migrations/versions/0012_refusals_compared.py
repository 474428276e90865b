"""What recipients in a row were refused, and who was given back for it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from mailganer.models import meta

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Only what may be empty: the version before goes on working while this one is rolled out.
    op.add_column(
        "sender", sa.Column("refusals", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=True)
    )
    op.add_column("delivery", sa.Column("returned_at", meta.UTCDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("delivery", "returned_at")
    op.drop_column("sender", "refusals")
