"""The ledger: one row per recipient of a campaign, in batches, and who is working on them.

A delivery's id says where it stands: campaign * 10,000,000 + number. So a batch is a range of ids, planning
twice cannot make a second row, and nothing has to be looked up to update a window by key.
"""

import base64
import binascii
import hashlib
import re
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    cast,
    literal,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from .audience import SubscriberStatus
from .meta import Base, BigId, Sentence, Token, Words

LARGEST_CAMPAIGN = 10_000_000


class DeliveryStatus(StrEnum):
    pending = "pending"  # waits for its turn, or for not_before
    sending = "sending"  # in a window right now
    sent = "sent"  # the server took it
    failed = "failed"  # refused for good, or too old; reason and reply say why
    in_doubt = "in_doubt"  # on the wire when something died; never sent again by itself
    skipped = "skipped"  # not sent on purpose; reason says why
    bounced = "bounced"  # was sent, came back; nothing sets it yet: answers of mail servers are not read


class Reason(StrEnum):
    """Why a delivery failed, is in doubt or was skipped. The sentence is made where it is shown."""

    refused = "refused"  # the server does not take this recipient
    expired = "expired"  # put off for a whole day
    interrupted = "interrupted"  # we died with the email handed over and not answered
    disconnected = "disconnected"  # the connection died after the email was handed over
    unsubscribed = "unsubscribed"
    bounced = "bounced"  # an earlier email was refused for good
    complained = "complained"  # as long as nothing makes anybody "complained", nothing sets it
    erased = "erased"  # the person was deleted meanwhile
    unconfirmed = "unconfirmed"  # as long as nothing makes anybody "unconfirmed", nothing sets it
    render_error = "render_error"  # this person's values break the email
    address = "address"  # nothing can be sent to such an address
    cancelled = "cancelled"  # the campaign was


SKIP_REASONS = {
    SubscriberStatus.unsubscribed: Reason.unsubscribed,
    SubscriberStatus.bounced: Reason.bounced,
    SubscriberStatus.complained: Reason.complained,
    SubscriberStatus.unconfirmed: Reason.unconfirmed,
}
"""A subscriber's status -> why they get no email."""


class Delivery(Base):
    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("campaign_id", "email_key"),
        # Two updates an email: room in the page keeps them off the indexes (heap-only tuples).
        {"postgresql_with": {"fillfactor": 75}},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    subscriber_id: Mapped[int | None] = mapped_column(
        ForeignKey("subscriber.id", ondelete="SET NULL"), index=True
    )
    email: Mapped[str] = mapped_column(String(320))
    email_key: Mapped[str] = mapped_column(String(320))
    token: Mapped[bytes] = mapped_column(Token, unique=True)
    status: Mapped[DeliveryStatus] = mapped_column(Words(DeliveryStatus), default=DeliveryStatus.pending)
    reason: Mapped[Reason | None] = mapped_column(Words(Reason))
    reply: Mapped[str | None] = mapped_column(Sentence)  # the server's words, or ours
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    first_tried_at: Mapped[datetime | None]  # an email put off for a day since then has expired
    not_before: Mapped[datetime | None]
    returned_at: Mapped[datetime | None]  # given back, for the server refused everybody so; once at most
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("sender.id", ondelete="SET NULL"))
    frozen_email_id: Mapped[int | None] = mapped_column(
        ForeignKey("frozen_email.id", ondelete="SET NULL")
    )  # the version this person got
    dated_at: Mapped[datetime]  # the Date header, fixed with the row
    settled_at: Mapped[datetime | None]  # when sent, failed, skipped or in doubt
    # Who ended the doubt by their word, and when; a moment without anybody: the server was asked and knew.
    decided_by: Mapped[str | None] = mapped_column(String(320))
    decided_at: Mapped[datetime | None]
    first_opened_at: Mapped[datetime | None]  # by a person, certainly or possibly
    certain_open: Mapped[bool] = mapped_column(default=False)
    opens: Mapped[int] = mapped_column(default=0)
    machine_opens: Mapped[int] = mapped_column(default=0)
    first_clicked_at: Mapped[datetime | None]
    clicks: Mapped[int] = mapped_column(default=0)
    machine_clicks: Mapped[int] = mapped_column(default=0)
    unsubscribed_at: Mapped[datetime | None]  # by this very email

    @property
    def erased_digest(self) -> bytes | None:
        """The suppression digest of a recipient who was erased; None if it was not kept."""
        found = _ERASED_KEY.fullmatch(self.email_key)
        return bytes.fromhex(found["digest"]) if found else None


def erased_key(digest: bytes) -> ColumnElement[str]:
    """Return what takes the place of ``Delivery.email_key`` when the recipient is erased.

    The id keeps it unique: a recipient may be added and erased twice. Earlier versions kept no digest.
    """
    return literal("erased:") + cast(Delivery.id, String) + literal(f":{digest.hex()}")


_ERASED_KEY = re.compile(r"erased:\d+:(?P<digest>[0-9a-f]{64})")


def first_delivery_id(campaign_id: int) -> int:
    """The ids of a campaign's deliveries are first .. first + LARGEST_CAMPAIGN - 1."""
    return campaign_id * LARGEST_CAMPAIGN


def token_text(token: bytes) -> str:
    """A token as it stands in addresses: 22 characters."""
    return binascii.b2a_base64(token, newline=False).translate(_FOR_ADDRESSES).rstrip(b"=").decode("ascii")


_FOR_ADDRESSES = bytes.maketrans(b"+/", b"-_")


def token_bytes(text: str) -> bytes | None:
    """The token behind 22 characters of an address; None for anything else."""
    if len(text) != 22 or not text.isascii():
        return None
    try:
        token = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return token if token_text(token) == text else None


def make_message_id(delivery_id: int, token: bytes, domain: str) -> str:
    """``id.proof@domain``, without brackets: tells the delivery, proves it is ours, and does not
    give the token away to everybody the email is forwarded or answered to."""
    proof = hashlib.blake2b(token, digest_size=8, person=b"message-id").hexdigest()
    return f"{delivery_id:x}.{proof}@{domain}"


class BatchState(StrEnum):
    open = "open"  # has pending deliveries nobody works on
    claimed = "claimed"  # a lane works on it until lease_until
    done = "done"  # nothing pending or sending


class Batch(Base):
    """A range of a campaign's ledger: the unit that is claimed. Its counts are kept with its rows."""

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("campaign_id", "number"),
        Index("ix_batch_campaign_id_state_not_before", "campaign_id", "state", "not_before"),
        # Of a thousand batches few hold a doubt: what is to be looked up is found without reading the rest.
        Index(
            "ix_batch_in_doubt",
            "first_id",
            postgresql_where=text("in_doubt > 0"),
            sqlite_where=text("in_doubt > 0"),
        ),
        # Batches to be sent or being sent, among many that are done.
        Index(
            "ix_batch_unfinished",
            "state",
            "campaign_id",
            postgresql_where=text("state <> 'done'"),
            sqlite_where=text("state <> 'done'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    number: Mapped[int]
    first_id: Mapped[int] = mapped_column(BigInteger)  # deliveries first_id .. last_id
    last_id: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[BatchState] = mapped_column(Words(BatchState), default=BatchState.open)
    not_before: Mapped[datetime | None]  # the earliest moment one of its pending rows may go
    sender_id: Mapped[int | None] = mapped_column(
        ForeignKey("sender.id", ondelete="SET NULL")
    )  # who claimed it
    epoch: Mapped[int] = mapped_column(default=0)  # fencing: raised with every claim
    lease_until: Mapped[datetime | None]
    pending: Mapped[int] = mapped_column(default=0)
    sending: Mapped[int] = mapped_column(default=0)
    sent: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    in_doubt: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    bounced: Mapped[int] = mapped_column(default=0)


class SentPerMinute(Base):
    """Emails of a campaign that a server took from a sender in one minute: what "fact" is counted from."""

    __tablename__ = "sent_per_minute"

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    sender_id: Mapped[int] = mapped_column(
        ForeignKey("sender.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    )
    minute: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False
    )  # minutes since 1970
    emails: Mapped[int] = mapped_column(default=0)


class DelayCause(StrEnum):
    """What kept emails waiting."""

    quota = "quota"  # a mail account had sent what it may in 24 hours
    trouble = "trouble"  # its server could not be reached, broke off, or asked to wait
    failing = "failing"  # its server did not let it send: somebody had to look
    plan = "plan"  # the account's plan had no more emails in 24 hours
    paused = "paused"  # the campaign was, by somebody
    halted = "halted"  # the campaign was, by us: something was wrong, or it was too late to start unasked


class Delay(Base):
    """A time in which nothing left through a sender, by a campaign or under a plan (one of the three is
    named). Nobody decides by these rows: they are kept to say afterwards what somebody waited for."""

    __tablename__ = "delay"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("sender.id", ondelete="CASCADE"), index=True)
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    cause: Mapped[DelayCause] = mapped_column(Words(DelayCause))
    since: Mapped[datetime]
    until: Mapped[datetime | None]  # None: not over, or nobody noted when it was


class Lane(Base):
    """A place for one claim loop of a sender. Holding its lease means being that loop."""

    __tablename__ = "lane"

    sender_id: Mapped[int] = mapped_column(ForeignKey("sender.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    host: Mapped[str | None] = mapped_column(String(255))  # machine and boot: whose journal files these are
    process: Mapped[str | None] = mapped_column(String(64))  # pid and start time: is it still the same one?


class Window(Base):
    """Deliveries that are marked ``sending`` right now. Written in the same commit that marks them,
    deleted in the one that settles them; what is left over is the sweep's work."""

    __tablename__ = "window"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"), index=True)
    campaign_id: Mapped[int] = mapped_column(BigInteger)
    sender_id: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int]  # the batch's epoch when claimed
    first_id: Mapped[int] = mapped_column(BigInteger)
    last_id: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int]
    host: Mapped[str] = mapped_column(String(255))
    process: Mapped[str] = mapped_column(String(64))
    journal: Mapped[str] = mapped_column(String(255))  # file name in the journals folder of that host
    opened_at: Mapped[datetime]
    lease_until: Mapped[datetime]
