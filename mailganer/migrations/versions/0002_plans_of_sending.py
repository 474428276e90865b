"""Plans of sending: time to undo, the latest start, sending hours."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Only what may be empty: the version before goes on working while this one is rolled out.
    op.add_column("campaign", sa.Column("pressed_at", meta.UTCDateTime(), nullable=True))
    op.add_column("campaign", sa.Column("hours", meta.JsonOrNull, nullable=True))
    op.add_column("campaign", sa.Column("resting_until", meta.UTCDateTime(), nullable=True))
    op.add_column("campaign", sa.Column("not_after", meta.UTCDateTime(), nullable=True))
