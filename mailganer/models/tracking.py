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
    bounce = "bounce"
    complaint = "complaint"


class Source(StrEnum):
    person = "person"
    possible = "possible"  # perhaps a person: a privacy proxy fetched it
    machine = "machine"  # a prefetcher or a scanner


class Event(Base):
    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_campaign_id_kind_at", "campaign_id", "kind", "at"),
        Index("ix_event_delivery_id", "delivery_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    delivery_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[EventKind] = mapped_column(Words(EventKind))
    source: Mapped[Source] = mapped_column(Words(Source), default=Source.person)
    link: Mapped[int | None] = mapped_column(SmallInteger)  # number of the link in its letter version, from 1
    letter_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    agent: Mapped[str] = mapped_column(String(200), default="")  # the User-Agent, cut
