"""Audience: subscribers, lists, imports and suppressed addresses."""

from datetime import date, datetime
from enum import StrEnum
from random import getrandbits
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .meta import Base, BigId, ByteOrdered, EnumText, Json, JsonOrNull, UTCDateTime, metadata


class SubscriberStatus(StrEnum):
    active = "active"  # gets emails
    unconfirmed = "unconfirmed"  # asked to confirm, has not yet; no code sets it yet
    unsubscribed = "unsubscribed"  # opted out; no file or form resubscribes them, only they themselves
    bounced = "bounced"  # the address does not work: a server refused it permanently
    complained = "complained"  # marked an email as spam; no code sets it yet, as complaints are not read


SEARCH_KEY_LENGTH = 500  # characters; four bytes each still fit into a PostgreSQL index entry


def make_search_key(email_key: str, first_name: str, last_name: str) -> str:
    """Return the text that searches match: lower case, with "ё" as "е", which users type for it."""
    return f"{first_name} {last_name} {email_key}".lower().replace("ё", "е").strip()[:SEARCH_KEY_LENGTH]


def _search_key(context: DefaultExecutionContext) -> str:
    row = context.get_current_parameters()
    return make_search_key(row["email_key"], row.get("first_name") or "", row.get("last_name") or "")


class SubscriberList(Base):
    __tablename__ = "list"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class Subscriber(Base):
    """One subscriber of an account, stored once, however many lists they are on."""

    __tablename__ = "subscriber"
    __table_args__ = (
        UniqueConstraint("account_id", "email_key"),
        # Includes the search key: a search over a million subscribers is an index-only scan.
        Index("ix_subscriber_account_id_id", "account_id", "id", "search_key"),
        Index("ix_subscriber_account_id_status_id", "account_id", "status", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(320))  # as entered
    # Lower case, NFC, A-label domain; unique in the account. Ordered by bytes, so that a prefix search uses
    # the index.
    email_key: Mapped[str] = mapped_column(ByteOrdered)
    search_key: Mapped[str] = mapped_column(String(SEARCH_KEY_LENGTH), default=_search_key)
    first_name: Mapped[str] = mapped_column(String(200), default="")
    last_name: Mapped[str] = mapped_column(String(200), default="")
    birthday: Mapped[date | None] = mapped_column(Date)  # in the year 1604 when only day and month are known
    # By slug; values are text, except those set through the API.
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[SubscriberStatus] = mapped_column(
        EnumText(SubscriberStatus), default=SubscriberStatus.active
    )
    status_at: Mapped[datetime | None]  # when the status last changed
    status_reason: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    # The import that added the subscriber, if it has no ``ImportChange`` of them: undoing it removes them.
    import_id: Mapped[int | None] = mapped_column(BigInteger)

    lists: Mapped[list[SubscriberList]] = relationship(
        secondary="list_member", order_by="SubscriberList.name", viewonly=True
    )


list_member = Table(
    "list_member",
    metadata,
    Column("list_id", ForeignKey("list.id", ondelete="CASCADE"), primary_key=True),
    Column("subscriber_id", ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("added_at", UTCDateTime(), nullable=False),
)


def _stamp() -> int:
    return getrandbits(32)  # of so few bits that the sum of two thousand million fits


class SubscriberCount(Base):
    """A part of the count of subscribers with a status, on a list or in the account (``list_id`` NULL).

    Written by ``mailganer.subscriber_counts`` only: a count is the sum of its rows.
    """

    __tablename__ = "subscriber_count"
    __table_args__ = (Index("ix_subscriber_count_list_id_account_id", "list_id", "account_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    # Without a foreign key: an unsubscribe would fail while a list of the subscriber is being deleted.
    list_id: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[SubscriberStatus] = mapped_column(EnumText(SubscriberStatus))
    number: Mapped[int] = mapped_column(BigInteger)  # negative: subscribers fewer
    # A random number: the sum of those of a list or an account is its version, which every change changes.
    stamp: Mapped[int] = mapped_column(BigInteger, default=_stamp)


class Suppression(Base):
    """A suppressed address: it must not be imported again.

    Stored as a keyed hash, which outlives the subscriber's erasure.
    """

    __tablename__ = "suppression"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    # Of email_key, under the account's key.
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    status: Mapped[SubscriberStatus] = mapped_column(EnumText(SubscriberStatus))
    reason: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime]


class ImportStatus(StrEnum):
    reading = "reading"  # rows are counted and checked
    ready = "ready"  # waits for the user to assign columns to fields
    applying = "applying"
    done = "done"
    failed = "failed"  # the file could not be used at all; nothing was stored
    undone = "undone"


class Import(Base):
    """A file being imported into a list."""

    __tablename__ = "import"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("list.id", ondelete="CASCADE"), index=True)
    # The list was created for this file and becomes visible with it.
    made_list: Mapped[bool] = mapped_column(default=False, server_default=false())
    filename: Mapped[str] = mapped_column(String(255))  # the original file name; for display only
    path: Mapped[str] = mapped_column(String(255))  # relative to the uploads folder; a random name
    size: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes
    encoding: Mapped[str] = mapped_column(String(40), default="")
    delimiter: Mapped[str] = mapped_column(String(1), default="")
    header: Mapped[bool] = mapped_column(default=True)  # the first row holds the column names
    columns: Mapped[list[str]] = mapped_column(default=list)  # header names in file order
    # Column number (text) -> field, or "" to skip the column.
    mapping: Mapped[dict[str, Any]] = mapped_column(default=dict)
    apply: Mapped[bool] = mapped_column(default=True)  # continue without the user when read
    status: Mapped[ImportStatus] = mapped_column(EnumText(ImportStatus), default=ImportStatus.reading)
    error: Mapped[str | None] = mapped_column(Text)
    start: Mapped[int] = mapped_column(BigInteger, default=0)  # byte offset of the first subscriber's row
    first_record: Mapped[int] = mapped_column(default=0)  # number of the row before it: 1 for the header
    # Bytes processed, for progress and for resuming.
    position: Mapped[int] = mapped_column(BigInteger, default=0)
    record: Mapped[int] = mapped_column(default=0)  # number of the last row processed, blank ones counted
    rows: Mapped[int] = mapped_column(default=0)  # of subscribers
    added: Mapped[int] = mapped_column(default=0)
    updated: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    # What was repaired or left out in imported rows: {"counts": {code: n}, "rows": [[row, code, detail]],
    # "left": n of subscribers who had unsubscribed}.
    notes: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    # The lowest and highest id of the subscribers that may have the import in ``Subscriber.import_id``.
    added_from: Mapped[int | None] = mapped_column(BigInteger)
    added_to: Mapped[int | None] = mapped_column(BigInteger)
    # Fencing: incremented by each process that takes over the import.
    epoch: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ImportReject(Base):
    """A row that was not imported, with its number in the file and the reason."""

    __tablename__ = "import_reject"

    import_id: Mapped[int] = mapped_column(ForeignKey("import.id", ondelete="CASCADE"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1 is the header
    code: Mapped[str] = mapped_column(String(40))  # the reason; its sentence is built when shown
    detail: Mapped[str] = mapped_column(String(200), default="")
    cells: Mapped[list[str]] = mapped_column(Json, default=list)


class ImportChange(Base):
    """What an import did to one subscriber, so that it can be undone.

    A subscriber whom the import added, and did nothing else to, has ``Subscriber.import_id`` instead.
    """

    __tablename__ = "import_change"

    import_id: Mapped[int] = mapped_column(ForeignKey("import.id", ondelete="CASCADE"), primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(
        ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    created: Mapped[bool] = mapped_column(default=False)  # the subscriber was created by this import
    joined: Mapped[bool] = mapped_column(default=False)  # was not on the list before
    before: Mapped[dict[str, Any] | None] = mapped_column(JsonOrNull)  # the values that were overwritten
