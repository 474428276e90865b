"""What an import repaired or left out in rows that went in."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("import", sa.Column("notes", meta.Json, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("import", "notes")
