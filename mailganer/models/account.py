"""Accounts, the mail logins that sign in to them, and their API tokens."""

import secrets
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .meta import Base, BigId


class Account(Base):
    """A tenant: a user or a team with separate data. Everything else belongs to an account."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(320))  # for display only; identities decide who may sign in
    plan: Mapped[str] = mapped_column(String(64))
    plan_until: Mapped[datetime | None]  # None: without end; past: the first plan applies again
    locale: Mapped[str] = mapped_column(String(8), default="en")
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    # Shown below every email when set: some countries require a postal address of senders.
    postal_address: Mapped[str] = mapped_column(String(500), default="")
    session_epoch: Mapped[int] = mapped_column(default=0)  # incremented to log out everywhere
    # Key for the hashes of suppressed addresses: random, one per account, and never changed, so that
    # unsubscribed addresses stay recognised when the secret keys of the installation change.
    suppression_key: Mapped[bytes] = mapped_column(LargeBinary(32), default=lambda: secrets.token_bytes(32))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]

    identities: Mapped[list["Identity"]] = relationship(back_populates="account")


class Identity(Base):
    """A verified mail login. (backend, server, login) opens the account, never an address alone."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("backend", "server", "login"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    backend: Mapped[str] = mapped_column(String(64))
    server: Mapped[str] = mapped_column(String(255))
    login: Mapped[str] = mapped_column(String(320))
    created_at: Mapped[datetime]

    account: Mapped[Account] = relationship(back_populates="identities")


class WebSession(Base):
    """One signed-in browser. Its cookie opens the account only while this row exists."""

    __tablename__ = "web_session"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)  # SHA-256 of the id in the cookie
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(index=True)


class ApiToken(Base):
    """A key to the JSON API. Only its SHA-256 is stored; the token itself is shown once."""

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    # "log out everywhere" revokes tokens too.
    session_epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()
