"""Plans of sending: time to undo, the latest start, sending hours, plan and fact."""

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
    op.add_column("campaign", sa.Column("forecast", meta.JsonOrNull, nullable=True))
    op.add_column("campaign", sa.Column("hours", meta.JsonOrNull, nullable=True))
    op.add_column("campaign", sa.Column("resting_until", meta.UTCDateTime(), nullable=True))
    op.add_column("campaign", sa.Column("not_after", meta.UTCDateTime(), nullable=True))
    op.create_table(
        "departure",
        sa.Column("campaign_id", meta.BigId, autoincrement=False, nullable=False),
        sa.Column("sender_id", meta.BigId, autoincrement=False, nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("letters", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_departure_campaign_id_campaign"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_departure_sender_id_sender"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "sender_id", "minute", name=op.f("pk_departure")),
    )
    op.create_index(op.f("ix_departure_sender_id"), "departure", ["sender_id"], unique=False)


def downgrade() -> None:
    op.drop_table("departure")
    for name in ("not_after", "resting_until", "hours", "forecast", "pressed_at"):
        op.drop_column("campaign", name)
