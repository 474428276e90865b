"""What held letters back: a sender's rests, a campaign's pauses, a plan that was used up."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hold",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("sender_id", meta.BigId, nullable=True),
        sa.Column("campaign_id", meta.BigId, nullable=True),
        sa.Column("account_id", meta.BigId, nullable=True),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("since", meta.UTCDateTime(), nullable=False),
        sa.Column("until", meta.UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_hold_sender_id_sender"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_hold_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_hold_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    for owner in ("sender_id", "campaign_id", "account_id"):
        op.create_index(op.f(f"ix_hold_{owner}"), "hold", [owner], unique=False)


def downgrade() -> None:
    op.drop_table("hold")
