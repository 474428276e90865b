"""Campaigns and their emails."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..errors import Conflict, _
from .account import Account
from .audience import SubscriberList
from .meta import Base, BigId, EnumText, JsonOrNull, Sentence, metadata
from .sender import Sender


class CampaignStatus(StrEnum):
    draft = "draft"
    scheduled = "scheduled"  # starts at send_at
    sending = "sending"  # being planned or sent; may wait for quota
    paused = "paused"  # by a user, or by Mailganer with paused_reason
    finished = "finished"  # no delivery is pending any more
    cancelled = "cancelled"


MOVES: dict[CampaignStatus, frozenset[CampaignStatus]] = {
    CampaignStatus.draft: frozenset({CampaignStatus.scheduled}),
    CampaignStatus.scheduled: frozenset(
        {
            CampaignStatus.draft,
            CampaignStatus.sending,
            CampaignStatus.paused,  # too late to start without asking
            CampaignStatus.cancelled,
        }
    ),
    CampaignStatus.sending: frozenset(
        {CampaignStatus.paused, CampaignStatus.finished, CampaignStatus.cancelled}
    ),
    CampaignStatus.paused: frozenset({CampaignStatus.sending, CampaignStatus.cancelled}),
    CampaignStatus.finished: frozenset({CampaignStatus.sending}),  # a doubtful email is sent again
    CampaignStatus.cancelled: frozenset(),
}


ACTIVE_STATES = (CampaignStatus.scheduled, CampaignStatus.sending, CampaignStatus.paused)
"""States of a campaign that is still to send: its lists and senders are needed."""


class Campaign(Base):
    """An email to some lists, from some senders, now or later."""

    __tablename__ = "campaign"
    __table_args__ = (Index("ix_campaign_status_send_at", "status", "send_at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    subject: Mapped[str] = mapped_column(Text, default="")
    preheader: Mapped[str] = mapped_column(Text, default="")
    html: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text, default="")
    template_id: Mapped[int | None] = mapped_column(ForeignKey("template.id", ondelete="SET NULL"))
    # name -> {"value": text or number, "override": bool}; a bare value means that it does not override
    variables: Mapped[dict[str, Any]] = mapped_column(default=dict)
    locale: Mapped[str] = mapped_column(String(8), default="en")  # of recipients' pages and the footer
    track_opens: Mapped[bool] = mapped_column(default=True)
    track_clicks: Mapped[bool] = mapped_column(default=True)

    status: Mapped[CampaignStatus] = mapped_column(EnumText(CampaignStatus), default=CampaignStatus.draft)
    send_at: Mapped[datetime | None]
    # When "send now" was chosen, kept after the start: until send_at it can be undone.
    pressed_at: Mapped[datetime | None]
    # Sending hours: campaigns.sending_hours.Hours.as_json(), None for any time. A lane that finds them
    # over sets resting_until, so that no other lane tries before then.
    hours: Mapped[dict[str, Any] | None] = mapped_column(JsonOrNull)
    resting_until: Mapped[datetime | None]
    # Latest start: a campaign that would start later is paused until its user decides.
    not_after: Mapped[datetime | None]
    forecast: Mapped[dict[str, Any] | None] = mapped_column(JsonOrNull)  # as forecast at the start
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    paused_reason: Mapped[str | None] = mapped_column(Sentence)  # None while paused: by a user
    # Incremented with every save, so that two tabs do not overwrite each other.
    revision: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    # Resumable planning: subscribers up to planned_after are in the ledger; planned_at is set when all are.
    planned: Mapped[int] = mapped_column(default=0)
    planned_after: Mapped[int] = mapped_column(BigId, default=0)
    planned_at: Mapped[datetime | None]
    # Right side of this campaign's Message-IDs, fixed when planned: the public address may change later.
    message_domain: Mapped[str] = mapped_column(String(255), default="")
    # The version sent now. Not a foreign key: frozen emails refer to the campaign, and a circular reference
    # makes every dump and restore awkward.
    frozen_email_id: Mapped[int | None] = mapped_column(BigId)

    account: Mapped[Account] = relationship()
    lists: Mapped[list[SubscriberList]] = relationship(
        secondary="campaign_list", order_by="SubscriberList.name"
    )
    senders: Mapped[list[Sender]] = relationship(
        secondary="campaign_sender", order_by="campaign_sender.c.position"
    )

    def move(self, to: CampaignStatus) -> None:
        """Change the status of a loaded campaign. Raise ``Conflict`` for an illegal change.

        Workers change it by ``UPDATE ... WHERE status = ...`` instead, because another process may have been
        faster.
        """
        if to not in MOVES[self.status]:
            raise Conflict(
                _(
                    "A campaign with the status “${now}” cannot change to “${then}”.",
                    mapping={"now": self.status.value, "then": to.value},
                )
            )
        self.status = to


campaign_list = Table(
    "campaign_list",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("list_id", ForeignKey("list.id", ondelete="CASCADE"), primary_key=True, index=True),
)

campaign_sender = Table(
    "campaign_sender",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("sender_id", ForeignKey("sender.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False, default=0, server_default="0"),
    # Emails it has had of this sender beside other campaigns (campaigns.campaign_shares.CampaignShare.had).
    Column("had", BigInteger, nullable=False, default=0, server_default="0"),
)


class EarlierEmail(Base):
    """A campaign's email before a template or a file replaced it, so that it can be restored."""

    __tablename__ = "earlier_email"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True)
    parts: Mapped[dict[str, Any]]  # subject, preheader, html, text, template_id
    replaced_at: Mapped[datetime]


class FrozenEmail(Base):
    """An email as frozen at the start, or after an edit for the remaining recipients. Immutable."""

    __tablename__ = "frozen_email"
    __table_args__ = (UniqueConstraint("campaign_id", "version"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    version: Mapped[int]
    compiled: Mapped[dict[str, Any]]  # CompiledEmail.to_json(): prepared sources, links, variables
    variables: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the campaign's, at that time
    created_at: Mapped[datetime]
