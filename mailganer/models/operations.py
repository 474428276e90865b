"""State of the installation: heartbeats, periodic jobs, idempotent responses, rate limit counts."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Double, ForeignKey, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base, Json

BEAT_ID = "clock "


class Heartbeat(Base):
    """When a process was last seen: "beat", or "worker host:pid".

    "clock ID" is one process of beat, "process PART HOST:PID ID" a web process or a worker, with or without
    ticks.
    """

    __tablename__ = "heartbeat"
    # Marks were kept here before: a late tick of that version must not move one.
    __table_args__ = (CheckConstraint("substr(name, 1, 5) <> 'mark '", name="no_mark"),)

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    seen_at: Mapped[datetime]
    # For workers and web processes: what they were started with. Empty: an earlier version, or it could not
    # be read. A worker that ticks records its newest key, a process report the first digits of each.
    folder_id: Mapped[str] = mapped_column(String(32), default="", server_default="")
    key_id: Mapped[str] = mapped_column(String(32), default="", server_default="")


class PeriodicJobRun(Base):
    """When a periodic job last ran, on whichever machine."""

    __tablename__ = "periodic_job"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    ran_at: Mapped[datetime]


class CampaignPlanning(Base):
    """When the process that plans a campaign was last seen; other processes choose other work meanwhile."""

    __tablename__ = "campaign_planning"

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    seen_at: Mapped[datetime]


class RestoreMark(Base):
    """A timestamp that is compared with the mark file of this name beside the journals. Never deleted."""

    __tablename__ = "restore_mark"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    moment: Mapped[datetime]


class IdempotentResponse(Base):
    """The response to a POST with an Idempotency-Key, returned again when the request is repeated."""

    __tablename__ = "idempotent_response"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))  # of method, path and body
    # 0: the request is still being processed, or was interrupted.
    status: Mapped[int] = mapped_column(SmallInteger)
    body: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime]


class RateLimitCount(Base):
    """How often a limited action was attempted; used when there is no Redis to count it."""

    __tablename__ = "rate_limit_count"

    # A hash of action, user and source.
    key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    number: Mapped[int]
    ends_at: Mapped[float] = mapped_column(Double)  # seconds since 1970; then counting restarts
