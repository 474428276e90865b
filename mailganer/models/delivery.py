"""The ledger's tables: one row per recipient of a campaign, in batches, with the lanes that work on them.

A delivery's id encodes its position: campaign * 10,000,000 + number. So a batch is a range of ids, planning
twice cannot create a second row, and a window is updated by primary key without a look-up.
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
from .meta import Base, BigId, EnumText, Sentence, Token

LARGEST_CAMPAIGN = 10_000_000


class DeliveryStatus(StrEnum):
    pending = "pending"  # waits for its turn, or for not_before
    sending = "sending"  # in a window now
    sent = "sent"  # the server accepted it
    failed = "failed"  # refused permanently, or too old; see reason and reply
    in_doubt = "in_doubt"  # on the wire when a process or connection died; never sent again automatically
    skipped = "skipped"  # intentionally not sent; see reason
    bounced = "bounced"  # was sent, came back; no code sets it yet, as bounces are not read


class Reason(StrEnum):
    """Why a delivery failed, is in doubt or was skipped. The sentence is built when shown."""

    refused = "refused"  # the server does not accept this recipient
    expired = "expired"  # deferred for a whole day
    interrupted = "interrupted"  # the process died with the email handed over and no response
    disconnected = "disconnected"  # the connection died after the email was handed over
    unsubscribed = "unsubscribed"
    bounced = "bounced"  # an earlier email was refused permanently
    complained = "complained"  # unused until some code sets the status "complained"
    erased = "erased"  # the subscriber was deleted after planning
    unconfirmed = "unconfirmed"  # unused until some code sets the status "unconfirmed"
    render_error = "render_error"  # this subscriber's values break the email
    address = "address"  # nothing can be sent to such an address
    cancelled = "cancelled"  # the campaign was cancelled


SKIP_REASONS = {
    SubscriberStatus.unsubscribed: Reason.unsubscribed,
    SubscriberStatus.bounced: Reason.bounced,
    SubscriberStatus.complained: Reason.complained,
    SubscriberStatus.unconfirmed: Reason.unconfirmed,
}
"""Status of a subscriber -> reason why they get no email."""


class Delivery(Base):
    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("campaign_id", "email_key"),
        # Two updates per email: free space in the page keeps them off the indexes (heap-only tuples).
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
    status: Mapped[DeliveryStatus] = mapped_column(EnumText(DeliveryStatus), default=DeliveryStatus.pending)
    reason: Mapped[Reason | None] = mapped_column(EnumText(Reason))
    reply: Mapped[str | None] = mapped_column(Sentence)  # the server's reply, or Mailganer's own sentence
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    first_tried_at: Mapped[datetime | None]  # an email deferred for a day since then has expired
    not_before: Mapped[datetime | None]
    # When it was given back, because the server refused all recipients alike; at most once.
    returned_at: Mapped[datetime | None]
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("sender.id", ondelete="SET NULL"))
    # The version sent to this recipient.
    frozen_email_id: Mapped[int | None] = mapped_column(ForeignKey("frozen_email.id", ondelete="SET NULL"))
    dated_at: Mapped[datetime]  # the Date header, fixed with the row
    settled_at: Mapped[datetime | None]  # when sent, failed, skipped or in doubt
    # Who decided the doubt, and when; decided_at without decided_by: the server was asked and knew.
    decided_by: Mapped[str | None] = mapped_column(String(320))
    decided_at: Mapped[datetime | None]
    first_opened_at: Mapped[datetime | None]  # by a human, certainly or possibly
    certain_open: Mapped[bool] = mapped_column(default=False)
    opens: Mapped[int] = mapped_column(default=0)
    machine_opens: Mapped[int] = mapped_column(default=0)
    first_clicked_at: Mapped[datetime | None]
    clicks: Mapped[int] = mapped_column(default=0)
    machine_clicks: Mapped[int] = mapped_column(default=0)
    unsubscribed_at: Mapped[datetime | None]  # through this very email

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
    """Return the first of a campaign's delivery ids, which are first .. first + LARGEST_CAMPAIGN - 1."""
    return campaign_id * LARGEST_CAMPAIGN


def token_text(token: bytes) -> str:
    """Return a token as used in URLs: 22 characters."""
    return binascii.b2a_base64(token, newline=False).translate(_FOR_ADDRESSES).rstrip(b"=").decode("ascii")


_FOR_ADDRESSES = bytes.maketrans(b"+/", b"-_")


def token_bytes(text: str) -> bytes | None:
    """Return the token of 22 characters from a URL; None for anything else."""
    if len(text) != 22 or not text.isascii():
        return None
    try:
        token = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return token if token_text(token) == text else None


def make_message_id(delivery_id: int, token: bytes, domain: str) -> str:
    """Return ``id.proof@domain``, without brackets.

    It identifies the delivery and proves that it is ours, without revealing the token to everyone to whom the
    email is forwarded or replied.
    """
    proof = hashlib.blake2b(token, digest_size=8, person=b"message-id").hexdigest()
    return f"{delivery_id:x}.{proof}@{domain}"


class BatchState(StrEnum):
    open = "open"  # has pending deliveries and is not claimed
    claimed = "claimed"  # a lane works on it until lease_until
    done = "done"  # nothing pending or sending


class Batch(Base):
    """A range of a campaign's deliveries: the unit of claiming.

    Its counts change in the same transaction as its rows.
    """

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("campaign_id", "number"),
        Index("ix_batch_campaign_id_state_not_before", "campaign_id", "state", "not_before"),
        # Few batches in a thousand have deliveries in doubt: finds those to look up without reading the rest.
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
    state: Mapped[BatchState] = mapped_column(EnumText(BatchState), default=BatchState.open)
    not_before: Mapped[datetime | None]  # the earliest time at which one of its pending rows may be sent
    # The claiming sender.
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("sender.id", ondelete="SET NULL"))
    epoch: Mapped[int] = mapped_column(default=0)  # fencing: incremented with every claim
    lease_until: Mapped[datetime | None]
    pending: Mapped[int] = mapped_column(default=0)
    sending: Mapped[int] = mapped_column(default=0)
    sent: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    in_doubt: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    bounced: Mapped[int] = mapped_column(default=0)


class SentPerMinute(Base):
    """Number of emails of a campaign accepted from a sender in one minute; reports sum them as actuals."""

    __tablename__ = "sent_per_minute"

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    sender_id: Mapped[int] = mapped_column(
        ForeignKey("sender.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    )
    # Minutes since 1970.
    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    emails: Mapped[int] = mapped_column(default=0)


class DelayCause(StrEnum):
    """What kept emails waiting."""

    quota = "quota"  # the sender had sent as much as it may in 24 hours
    trouble = "trouble"  # its server could not be reached, broke off, or asked to wait
    failing = "failing"  # its server did not let it send until a user acted
    plan = "plan"  # the account's plan allowed no more emails in 24 hours
    paused = "paused"  # the campaign was paused by a user
    halted = "halted"  # the campaign was paused by Mailganer: an error, or too late to start without asking


class Delay(Base):
    """A period in which nothing was sent through a sender, by a campaign or under a plan.

    One of the three is set. Nothing is decided by these rows: reports explain with them what a recipient
    waited for.
    """

    __tablename__ = "delay"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("sender.id", ondelete="CASCADE"), index=True)
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    cause: Mapped[DelayCause] = mapped_column(EnumText(DelayCause))
    since: Mapped[datetime]
    until: Mapped[datetime | None]  # None: not over, or its end was not recorded


class Lane(Base):
    """A worker slot of a sender. The process that holds its lease is the only one that sends in it."""

    __tablename__ = "lane"

    sender_id: Mapped[int] = mapped_column(ForeignKey("sender.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    host: Mapped[str | None] = mapped_column(String(255))  # machine and boot id: where the journal files are
    # Random id of the turn; its journal file has the same name.
    process: Mapped[str | None] = mapped_column(String(64))


class Window(Base):
    """Deliveries marked ``sending`` now.

    Inserted in the commit that marks them, deleted in the one that settles them; the sweep settles what is
    left over.
    """

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
