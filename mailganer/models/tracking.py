"""Tracking: events of recipients and counters."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base, BigId, EnumText


class EventKind(StrEnum):
    open = "open"
    click = "click"
    unsubscribe = "unsubscribe"
    resubscribe = "resubscribe"  # the recipient undid it
    # Read in many places, written nowhere yet, as bounce mail is not read.
    bounce = "bounce"
    complaint = "complaint"


class EventSource(StrEnum):
    person = "person"
    possible = "possible"  # perhaps a human: fetched by a privacy proxy
    machine = "machine"  # a prefetcher or a scanner


class Event(Base):
    __tablename__ = "event"
    __table_args__ = (
        # Includes the source, so that a timeline is an index-only scan.
        Index("ix_event_campaign_id_kind_at", "campaign_id", "kind", "at", "source"),
        Index("ix_event_delivery_id", "delivery_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    delivery_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[EventKind] = mapped_column(EnumText(EventKind))
    source: Mapped[EventSource] = mapped_column(EnumText(EventSource), default=EventSource.person)
    link: Mapped[int | None] = mapped_column(SmallInteger)  # number of the link in its email version, from 1
    frozen_email_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    agent: Mapped[str] = mapped_column(String(200), default="")  # the User-Agent, truncated


COUNTER_SHARDS = 16


class CampaignCounter(Base):
    """Counters of a campaign, updated in the transaction that changes a delivery.

    A report over a million deliveries sums a few rows. There are several per campaign, so that a thousand
    concurrent opens do not wait for one row.
    """

    __tablename__ = "campaign_counter"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)  # id % 16
    opened_certain: Mapped[int] = mapped_column(default=0)  # recipients
    opened_possible: Mapped[int] = mapped_column(default=0)  # recipients
    opens: Mapped[int] = mapped_column(default=0)
    machine_opens: Mapped[int] = mapped_column(default=0)
    clicked: Mapped[int] = mapped_column(default=0)  # recipients
    clicks: Mapped[int] = mapped_column(default=0)
    machine_clicks: Mapped[int] = mapped_column(default=0)
    unsubscribed: Mapped[int] = mapped_column(default=0)  # recipients
