"""Sessions of browsers, so that signing out ends one on the server."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "web_session",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_web_session_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_web_session")),
    )
    for column in ("account_id", "created_at"):
        op.create_index(op.f(f"ix_web_session_{column}"), "web_session", [column], unique=False)


def downgrade() -> None:
    op.drop_table("web_session")
