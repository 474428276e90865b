"""Which data folder and secret key a worker uses, so that a wrong one is noticed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("folder_id", "key_id"):
        op.add_column("heartbeat", sa.Column(name, sa.String(32), nullable=False, server_default=""))


def downgrade() -> None:
    for name in ("key_id", "folder_id"):
        op.drop_column("heartbeat", name)
