"""The email that a template or a file took the place of, to be brought back."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "earlier_email",
        sa.Column("campaign_id", meta.BigId, nullable=False, autoincrement=False),
        sa.Column("parts", meta.Json, nullable=False),
        sa.Column("replaced_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_earlier_email_campaign_id_campaign"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_earlier_email")),
    )


def downgrade() -> None:
    op.drop_table("earlier_email")
