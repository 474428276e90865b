"""Keep nothing but heartbeats in ``heartbeat``: marks, periodic jobs and planners get tables of their own."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MARK, PLANNED_BY, LOOK_UP = "mark ", "plan ", "look_up"

HEARTBEATS = sa.table("heartbeat", sa.column("name"), sa.column("seen_at"))
MARKS = sa.table("restore_mark", sa.column("name"), sa.column("moment"))
JOBS = sa.table("periodic_job", sa.column("name"), sa.column("ran_at"))


def upgrade() -> None:
    op.create_table(
        "restore_mark",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("moment", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_restore_mark"),
    )
    op.create_table(
        "periodic_job",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_periodic_job"),
    )
    op.create_table(
        "campaign_planning",
        sa.Column("campaign_id", meta.BigId, autoincrement=False, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name="fk_campaign_planning_campaign_id_campaign",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("campaign_id", name="pk_campaign_planning"),
    )
    # Locks heartbeat: a tick of the version before would move a mark on after it is copied, and the database
    # would seem to be restored from an older copy. The table has a row for each process.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("LOCK TABLE heartbeat IN ACCESS EXCLUSIVE MODE")
    name, marks = HEARTBEATS.c.name, HEARTBEATS.c.name.startswith(MARK)
    copied = sa.select(sa.func.substr(name, len(MARK) + 1), HEARTBEATS.c.seen_at).where(marks)
    op.execute(MARKS.insert().from_select(["name", "moment"], copied))
    looked_up = sa.select(name, HEARTBEATS.c.seen_at).where(name == LOOK_UP)
    op.execute(JOBS.insert().from_select(["name", "ran_at"], looked_up))
    # Planners that work now note the campaign again with their next chunk.
    op.execute(HEARTBEATS.delete().where(marks | (name == LOOK_UP) | name.startswith(PLANNED_BY)))
    with op.batch_alter_table("heartbeat") as table:  # a late tick of the version before fails here
        table.create_check_constraint(op.f("ck_heartbeat_no_mark"), "substr(name, 1, 5) <> 'mark '")


def downgrade() -> None:
    with op.batch_alter_table("heartbeat") as table:
        table.drop_constraint(op.f("ck_heartbeat_no_mark"), type_="check")
    marks = sa.select(sa.literal(MARK).concat(MARKS.c.name), MARKS.c.moment)
    op.execute(HEARTBEATS.insert().from_select(["name", "seen_at"], marks))
    looked_up = sa.select(JOBS.c.name, JOBS.c.ran_at).where(JOBS.c.name == LOOK_UP)
    op.execute(HEARTBEATS.insert().from_select(["name", "seen_at"], looked_up))
    for table_name in ("campaign_planning", "periodic_job", "restore_mark"):
        op.drop_table(table_name)
