"""Which import its list was made for."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # With a default: the version before goes on adding imports while this one is rolled out.
    op.add_column("import", sa.Column("made_list", sa.Boolean(), nullable=False, server_default=sa.false()))
    imports = sa.table("import", sa.column("list_id"), sa.column("created_at"), sa.column("made_list"))
    lists = sa.table("list", sa.column("id"), sa.column("created_at"))
    # How the version before told them: list and import had the same time.
    # Locks import: it has one row for each file, and only those of new lists are written.
    op.execute(
        imports.update()
        .where(
            sa.exists()
            .where(lists.c.id == imports.c.list_id, lists.c.created_at == imports.c.created_at)
            .correlate(imports)
        )
        .values(made_list=sa.true())
    )


def downgrade() -> None:
    # List and import still have the same time, by which the version before tells them.
    op.drop_column("import", "made_list")
