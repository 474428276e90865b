"""Senders (the mail accounts that emails are sent through) and their usage."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .account import Account
from .meta import Base, BigId, EnumText, JsonOrNull, Sentence


class SenderStatus(StrEnum):
    ready = "ready"  # may send
    sleeping = "sleeping"  # quota used up or slowed down; continues at sleeps_until
    failing = "failing"  # login, TLS or server trouble: a user has to act; see error


class Sender(Base):
    """A mail account that belongs to an account.

    ``settings`` are the backend's fields without the secret ones.
    """

    __tablename__ = "sender"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    from_name: Mapped[str] = mapped_column(String(200), default="")
    from_email: Mapped[str] = mapped_column(String(320))
    backend: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secrets: Mapped[bytes | None] = mapped_column(LargeBinary)  # the secret fields, encrypted by the vault

    status: Mapped[SenderStatus] = mapped_column(EnumText(SenderStatus), default=SenderStatus.ready)
    sleeps_until: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Sentence)  # our sentence, then the server's reply
    failures: Mapped[int] = mapped_column(default=0)  # consecutive connection failures
    # Refusals of its recipients since one was accepted; see sending.worker.refusal_pattern.
    refusals: Mapped[dict[str, Any] | None] = mapped_column(JsonOrNull)

    # The user's own limits; None: the backend's default. The learned one comes from the server's refusals.
    per_day: Mapped[int | None]
    per_second: Mapped[float | None]
    max_connections: Mapped[int | None]
    learned_per_day: Mapped[int | None]
    # Emails per second since its server asked it to slow down, and before; None again once they are equal.
    slowed_to: Mapped[float | None]
    slowed_from: Mapped[float | None]
    # Pace as one time (generic cell rate algorithm): the next email may leave at paced_until.
    # Also set where the plan has nothing left for this sender's campaigns now.
    paced_until: Mapped[datetime | None]
    # Where a starting campaign begins when campaigns take turns (campaigns.campaign_shares).
    floor: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")

    created_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]  # the row is kept: past deliveries and used quota refer to it

    account: Mapped[Account] = relationship()


class Usage(Base):
    """Emails sent through a sender in one minute; quotas of 24 hours are sums over these rows."""

    __tablename__ = "usage"
    __table_args__ = (Index("ix_usage_account_id_minute", "account_id", "minute"),)

    sender_id: Mapped[int] = mapped_column(ForeignKey("sender.id", ondelete="CASCADE"), primary_key=True)
    # Minutes since 1970.
    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    emails: Mapped[int] = mapped_column(default=0)
