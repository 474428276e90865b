"""What readers did."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base, BigId, Words


class EventKind(StrEnum):
    open = "open"
    click = "click"
    unsubscribe = "unsubscribe"
    resubscribe = "resubscribe"  # the reader took it back
    # Read everywhere, and written by nothing yet: what comes back by mail is not looked at.
    bounce = "bounce"
    complaint = "complaint"


class Source(StrEnum):
    person = "person"
    possible = "possible"  # perhaps a person: a privacy proxy fetched it
    machine = "machine"  # a prefetcher or a scanner


class Event(Base):
    __tablename__ = "event"
    __table_args__ = (
        # The source rides along: a timeline reads this index and nothing else.
        Index("ix_event_campaign_id_kind_at", "campaign_id", "kind", "at", "source"),
        Index("ix_event_delivery_id", "delivery_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    delivery_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[EventKind] = mapped_column(Words(EventKind))
    source: Mapped[Source] = mapped_column(Words(Source), default=Source.person)
    link: Mapped[int | None] = mapped_column(SmallInteger)  # number of the link in its email version, from 1
    frozen_email_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    agent: Mapped[str] = mapped_column(String(200), default="")  # the User-Agent, cut


COUNTER_SHARDS = 16


class CampaignCounter(Base):
    """What a campaign's emails brought, kept in the transaction that changes a delivery: a report of a
    million deliveries sums up a few rows. Several rows, so that a thousand openers do not queue at one."""

    __tablename__ = "campaign_counter"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)  # id % 16
    opened_certain: Mapped[int] = mapped_column(default=0)  # people
    opened_possible: Mapped[int] = mapped_column(default=0)  # people
    opens: Mapped[int] = mapped_column(default=0)
    machine_opens: Mapped[int] = mapped_column(default=0)
    clicked: Mapped[int] = mapped_column(default=0)  # people
    clicks: Mapped[int] = mapped_column(default=0)
    machine_clicks: Mapped[int] = mapped_column(default=0)
    unsubscribed: Mapped[int] = mapped_column(default=0)  # people
