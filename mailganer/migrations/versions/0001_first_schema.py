"""The first schema."""

import sqlalchemy as sa
from alembic import op

from mailganer.models import meta

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("plan_until", meta.UTCDateTime(), nullable=True),
        sa.Column("locale", sa.String(length=8), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("postal_address", sa.String(length=500), nullable=False),
        sa.Column("session_epoch", sa.Integer(), nullable=False),
        sa.Column("suppression_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("closed_at", meta.UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("seen_at", meta.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "answer",
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", meta.Json, nullable=True),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_answer_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_answer")),
    )
    op.create_table(
        "api_token",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("session_epoch", sa.BigInteger(), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("last_used_at", meta.UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_api_token_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_token_digest")),
    )
    op.create_index(op.f("ix_api_token_account_id"), "api_token", ["account_id"], unique=False)
    op.create_table(
        "identity",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("backend", sa.String(length=64), nullable=False),
        sa.Column("server", sa.String(length=255), nullable=False),
        sa.Column("login", sa.String(length=320), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_identity_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
        sa.UniqueConstraint("backend", "server", "login", name=op.f("uq_identity_backend_server_login")),
    )
    op.create_index(op.f("ix_identity_account_id"), "identity", ["account_id"], unique=False)
    op.create_table(
        "list",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_list_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list")),
    )
    op.create_index(op.f("ix_list_account_id"), "list", ["account_id"], unique=False)
    op.create_table(
        "sender",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("from_name", sa.String(length=200), nullable=False),
        sa.Column("from_email", sa.String(length=320), nullable=False),
        sa.Column("backend", sa.String(length=64), nullable=False),
        sa.Column("settings", meta.Json, nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("sleeps_until", meta.UTCDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("per_day", sa.Integer(), nullable=True),
        sa.Column("per_second", sa.Double(), nullable=True),
        sa.Column("max_connections", sa.Integer(), nullable=True),
        sa.Column("learned_per_day", sa.Integer(), nullable=True),
        sa.Column("paced_until", meta.UTCDateTime(), nullable=True),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("verified_at", meta.UTCDateTime(), nullable=True),
        sa.Column("deleted_at", meta.UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_sender_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sender")),
    )
    op.create_index(op.f("ix_sender_account_id"), "sender", ["account_id"], unique=False)
    op.create_table(
        "subscriber",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column(
            "email_key",
            sa.String(length=320).with_variant(sa.String(length=320, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("search_key", sa.String(length=500), nullable=False),
        sa.Column("first_name", sa.String(length=200), nullable=False),
        sa.Column("last_name", sa.String(length=200), nullable=False),
        sa.Column("birthday", sa.Date(), nullable=True),
        sa.Column("fields", meta.Json, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_at", meta.UTCDateTime(), nullable=True),
        sa.Column("status_reason", sa.String(length=200), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("updated_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_subscriber_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriber")),
        sa.UniqueConstraint("account_id", "email_key", name=op.f("uq_subscriber_account_id_email_key")),
    )
    op.create_index(
        "ix_subscriber_account_id_id", "subscriber", ["account_id", "id", "search_key"], unique=False
    )
    op.create_index(
        "ix_subscriber_account_id_status_id", "subscriber", ["account_id", "status", "id"], unique=False
    )
    op.create_table(
        "suppression",
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_suppression_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "digest", name=op.f("pk_suppression")),
    )
    op.create_table(
        "template",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("preheader", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("updated_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_template_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template")),
    )
    op.create_index(op.f("ix_template_account_id"), "template", ["account_id"], unique=False)
    op.create_table(
        "voucher",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("redeemed_at", meta.UTCDateTime(), nullable=True),
        sa.Column("redeemed_by", meta.BigId, nullable=True),
        sa.ForeignKeyConstraint(
            ["redeemed_by"], ["account.id"], name=op.f("fk_voucher_redeemed_by_account"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher")),
        sa.UniqueConstraint("code", name=op.f("uq_voucher_code")),
    )
    op.create_table(
        "campaign",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("preheader", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("template_id", meta.BigId, nullable=True),
        sa.Column("variables", meta.Json, nullable=False),
        sa.Column("locale", sa.String(length=8), nullable=False),
        sa.Column("track_opens", sa.Boolean(), nullable=False),
        sa.Column("track_clicks", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("send_at", meta.UTCDateTime(), nullable=True),
        sa.Column("started_at", meta.UTCDateTime(), nullable=True),
        sa.Column("finished_at", meta.UTCDateTime(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("updated_at", meta.UTCDateTime(), nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("planned_after", meta.BigId, nullable=False),
        sa.Column("planned_at", meta.UTCDateTime(), nullable=True),
        sa.Column("message_domain", sa.String(length=255), nullable=False),
        sa.Column("letter_id", meta.BigId, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_campaign_account_id_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["template_id"],
            ["template.id"],
            name=op.f("fk_campaign_template_id_template"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
    )
    op.create_index(op.f("ix_campaign_account_id"), "campaign", ["account_id"], unique=False)
    op.create_index("ix_campaign_status_send_at", "campaign", ["status", "send_at"], unique=False)
    op.create_table(
        "import",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("list_id", meta.BigId, nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("encoding", sa.String(length=40), nullable=False),
        sa.Column("delimiter", sa.String(length=1), nullable=False),
        sa.Column("header", sa.Boolean(), nullable=False),
        sa.Column("columns", meta.Json, nullable=False),
        sa.Column("mapping", meta.Json, nullable=False),
        sa.Column("apply", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("first_record", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", meta.UTCDateTime(), nullable=True),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.Column("finished_at", meta.UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_import_account_id_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["list_id"], ["list.id"], name=op.f("fk_import_list_id_list"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import")),
    )
    op.create_index(op.f("ix_import_account_id"), "import", ["account_id"], unique=False)
    op.create_index(op.f("ix_import_list_id"), "import", ["list_id"], unique=False)
    op.create_table(
        "lane",
        sa.Column("sender_id", meta.BigId, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", meta.UTCDateTime(), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("process", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_lane_sender_id_sender"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sender_id", "number", name=op.f("pk_lane")),
    )
    op.create_table(
        "list_member",
        sa.Column("list_id", meta.BigId, nullable=False),
        sa.Column("subscriber_id", meta.BigId, nullable=False),
        sa.Column("added_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["list_id"], ["list.id"], name=op.f("fk_list_member_list_id_list"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_list_member_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("list_id", "subscriber_id", name=op.f("pk_list_member")),
    )
    op.create_index(op.f("ix_list_member_subscriber_id"), "list_member", ["subscriber_id"], unique=False)
    op.create_table(
        "usage",
        sa.Column("sender_id", meta.BigId, nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", meta.BigId, nullable=False),
        sa.Column("letters", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_usage_account_id_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_usage_sender_id_sender"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sender_id", "minute", name=op.f("pk_usage")),
    )
    op.create_index("ix_usage_account_id_minute", "usage", ["account_id", "minute"], unique=False)
    op.create_table(
        "batch",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("not_before", meta.UTCDateTime(), nullable=True),
        sa.Column("sender_id", meta.BigId, nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", meta.UTCDateTime(), nullable=True),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("sending", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("in_doubt", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("bounced", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_batch_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_batch_sender_id_sender"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("campaign_id", "number", name=op.f("uq_batch_campaign_id_number")),
    )
    op.create_index(
        "ix_batch_campaign_id_state_not_before", "batch", ["campaign_id", "state", "not_before"], unique=False
    )
    op.create_index(
        "ix_batch_in_doubt",
        "batch",
        ["first_id"],
        unique=False,
        postgresql_where=sa.text("in_doubt > 0"),
        sqlite_where=sa.text("in_doubt > 0"),
    )
    op.create_table(
        "campaign_list",
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("list_id", meta.BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_campaign_list_campaign_id_campaign"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["list_id"], ["list.id"], name=op.f("fk_campaign_list_list_id_list"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "list_id", name=op.f("pk_campaign_list")),
    )
    op.create_index(op.f("ix_campaign_list_list_id"), "campaign_list", ["list_id"], unique=False)
    op.create_table(
        "campaign_sender",
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("sender_id", meta.BigId, nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_campaign_sender_campaign_id_campaign"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_campaign_sender_sender_id_sender"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "sender_id", name=op.f("pk_campaign_sender")),
    )
    op.create_index(op.f("ix_campaign_sender_sender_id"), "campaign_sender", ["sender_id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("link", sa.SmallInteger(), nullable=True),
        sa.Column("letter_id", sa.BigInteger(), nullable=True),
        sa.Column("at", meta.UTCDateTime(), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_event_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(
        "ix_event_campaign_id_kind_at", "event", ["campaign_id", "kind", "at", "source"], unique=False
    )
    op.create_index("ix_event_delivery_id", "event", ["delivery_id"], unique=False)
    op.create_table(
        "import_change",
        sa.Column("import_id", meta.BigId, nullable=False),
        sa.Column("subscriber_id", meta.BigId, nullable=False),
        sa.Column("created", sa.Boolean(), nullable=False),
        sa.Column("joined", sa.Boolean(), nullable=False),
        sa.Column("before", meta.Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["import.id"], name=op.f("fk_import_change_import_id_import"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_import_change_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "subscriber_id", name=op.f("pk_import_change")),
    )
    op.create_index(op.f("ix_import_change_subscriber_id"), "import_change", ["subscriber_id"], unique=False)
    op.create_table(
        "import_reject",
        sa.Column("import_id", meta.BigId, nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.String(length=200), nullable=False),
        sa.Column("cells", meta.Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["import.id"], name=op.f("fk_import_reject_import_id_import"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "row", name=op.f("pk_import_reject")),
    )
    op.create_table(
        "letter",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("compiled", meta.Json, nullable=False),
        sa.Column("variables", meta.Json, nullable=False),
        sa.Column("created_at", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_letter_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter")),
        sa.UniqueConstraint("campaign_id", "version", name=op.f("uq_letter_campaign_id_version")),
    )
    op.create_table(
        "tally",
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("opened_certain", sa.Integer(), nullable=False),
        sa.Column("opened_possible", sa.Integer(), nullable=False),
        sa.Column("opens", sa.Integer(), nullable=False),
        sa.Column("machine_opens", sa.Integer(), nullable=False),
        sa.Column("clicked", sa.Integer(), nullable=False),
        sa.Column("clicks", sa.Integer(), nullable=False),
        sa.Column("machine_clicks", sa.Integer(), nullable=False),
        sa.Column("unsubscribed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_tally_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "shard", name=op.f("pk_tally")),
    )
    op.create_table(
        "delivery",
        sa.Column("id", meta.BigId, autoincrement=False, nullable=False),
        sa.Column("campaign_id", meta.BigId, nullable=False),
        sa.Column("subscriber_id", meta.BigId, nullable=True),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("email_key", sa.String(length=320), nullable=False),
        sa.Column("token", sa.LargeBinary(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("first_tried_at", meta.UTCDateTime(), nullable=True),
        sa.Column("not_before", meta.UTCDateTime(), nullable=True),
        sa.Column("sender_id", meta.BigId, nullable=True),
        sa.Column("letter_id", meta.BigId, nullable=True),
        sa.Column("dated_at", meta.UTCDateTime(), nullable=False),
        sa.Column("settled_at", meta.UTCDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(length=320), nullable=True),
        sa.Column("decided_at", meta.UTCDateTime(), nullable=True),
        sa.Column("first_opened_at", meta.UTCDateTime(), nullable=True),
        sa.Column("certain_open", sa.Boolean(), nullable=False),
        sa.Column("opens", sa.Integer(), nullable=False),
        sa.Column("machine_opens", sa.Integer(), nullable=False),
        sa.Column("first_clicked_at", meta.UTCDateTime(), nullable=True),
        sa.Column("clicks", sa.Integer(), nullable=False),
        sa.Column("machine_clicks", sa.Integer(), nullable=False),
        sa.Column("unsubscribed_at", meta.UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_delivery_campaign_id_campaign"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["letter_id"], ["letter.id"], name=op.f("fk_delivery_letter_id_letter"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["sender.id"], name=op.f("fk_delivery_sender_id_sender"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_delivery_subscriber_id_subscriber"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("campaign_id", "email_key", name=op.f("uq_delivery_campaign_id_email_key")),
        sa.UniqueConstraint("token", name=op.f("uq_delivery_token")),
        postgresql_with={"fillfactor": 75},
    )
    op.create_index(op.f("ix_delivery_subscriber_id"), "delivery", ["subscriber_id"], unique=False)
    op.create_table(
        "window",
        sa.Column("id", meta.BigId, nullable=False),
        sa.Column("batch_id", meta.BigId, nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("sender_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("journal", sa.String(length=255), nullable=False),
        sa.Column("opened_at", meta.UTCDateTime(), nullable=False),
        sa.Column("lease_until", meta.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.id"], name=op.f("fk_window_batch_id_batch"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_window")),
    )
    op.create_index(op.f("ix_window_batch_id"), "window", ["batch_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_window_batch_id"), table_name="window")
    op.drop_table("window")
    op.drop_index(op.f("ix_delivery_subscriber_id"), table_name="delivery")
    op.drop_table("delivery")
    op.drop_table("tally")
    op.drop_table("letter")
    op.drop_table("import_reject")
    op.drop_index(op.f("ix_import_change_subscriber_id"), table_name="import_change")
    op.drop_table("import_change")
    op.drop_index("ix_event_delivery_id", table_name="event")
    op.drop_index("ix_event_campaign_id_kind_at", table_name="event")
    op.drop_table("event")
    op.drop_index(op.f("ix_campaign_sender_sender_id"), table_name="campaign_sender")
    op.drop_table("campaign_sender")
    op.drop_index(op.f("ix_campaign_list_list_id"), table_name="campaign_list")
    op.drop_table("campaign_list")
    op.drop_index(
        "ix_batch_in_doubt",
        table_name="batch",
        postgresql_where=sa.text("in_doubt > 0"),
        sqlite_where=sa.text("in_doubt > 0"),
    )
    op.drop_index("ix_batch_campaign_id_state_not_before", table_name="batch")
    op.drop_table("batch")
    op.drop_index("ix_usage_account_id_minute", table_name="usage")
    op.drop_table("usage")
    op.drop_index(op.f("ix_list_member_subscriber_id"), table_name="list_member")
    op.drop_table("list_member")
    op.drop_table("lane")
    op.drop_index(op.f("ix_import_list_id"), table_name="import")
    op.drop_index(op.f("ix_import_account_id"), table_name="import")
    op.drop_table("import")
    op.drop_index("ix_campaign_status_send_at", table_name="campaign")
    op.drop_index(op.f("ix_campaign_account_id"), table_name="campaign")
    op.drop_table("campaign")
    op.drop_table("voucher")
    op.drop_index(op.f("ix_template_account_id"), table_name="template")
    op.drop_table("template")
    op.drop_table("suppression")
    op.drop_index("ix_subscriber_account_id_status_id", table_name="subscriber")
    op.drop_index("ix_subscriber_account_id_id", table_name="subscriber")
    op.drop_table("subscriber")
    op.drop_index(op.f("ix_sender_account_id"), table_name="sender")
    op.drop_table("sender")
    op.drop_index(op.f("ix_list_account_id"), table_name="list")
    op.drop_table("list")
    op.drop_index(op.f("ix_identity_account_id"), table_name="identity")
    op.drop_table("identity")
    op.drop_index(op.f("ix_api_token_account_id"), table_name="api_token")
    op.drop_table("api_token")
    op.drop_table("answer")
    op.drop_table("heartbeat")
    op.drop_table("account")
