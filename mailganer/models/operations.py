"""What the installation knows about itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base, Json

BEAT_ID = "clock "


class Heartbeat(Base):
    """When a part was last seen alive: "beat", or "worker host:pid".

    "clock ID" is one process of beat, "process PART HOST:PID ID" a web process or a worker, with or without
    ticks.

    And two moments of other kinds: "look_up", when doubtful emails were last looked up, and "mark NAME",
    which the file of this name beside the journals is held against.
    """

    __tablename__ = "heartbeat"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    seen_at: Mapped[datetime]
    # Of workers and web processes: what they were started with. Empty: an earlier version, or it could not be
    # read. A worker that ticks notes its newest key, a process report the first digits of each.
    folder_id: Mapped[str] = mapped_column(String(32), default="", server_default="")
    key_id: Mapped[str] = mapped_column(String(32), default="", server_default="")


class IdempotentResponse(Base):
    """The answer to a POST with an Idempotency-Key, so that asking again does not do it again."""

    __tablename__ = "idempotent_response"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))  # of method, path and body
    status: Mapped[int] = mapped_column(SmallInteger)  # 0: it is still being answered, or that broke off
    body: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime]


class RateLimitCount(Base):
    """How often somebody tried something that is counted, while no Redis counts it."""

    __tablename__ = "rate_limit_count"

    key: Mapped[bytes] = mapped_column(
        LargeBinary(16), primary_key=True
    )  # a hash of what, who and from where
    number: Mapped[int]
    ends_at: Mapped[float] = mapped_column(Double)  # seconds since 1970; then counting begins anew
