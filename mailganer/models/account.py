"""Accounts, the mail logins that open them, their API tokens."""

import secrets
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .meta import Base, BigId


class Account(Base):
    """One person's (or team's) separate world. Everything else belongs to an account."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(320))  # for showing; who may come in is said by identities
    plan: Mapped[str] = mapped_column(String(64))
    plan_until: Mapped[datetime | None]  # None: for good; past: the first plan holds again
    locale: Mapped[str] = mapped_column(String(8), default="en")
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    # Under every email when set: some countries ask senders for a postal address.
    postal_address: Mapped[str] = mapped_column(String(500), default="")
    session_epoch: Mapped[int] = mapped_column(default=0)  # raised to log out everywhere
    # Key of the hashes of suppressed addresses: random, the account's own, and never changed, so that who
    # left stays known whatever happens to the secret keys of the installation.
    suppression_key: Mapped[bytes] = mapped_column(LargeBinary(32), default=lambda: secrets.token_bytes(32))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]

    identities: Mapped[list["Identity"]] = relationship(back_populates="account")


class Identity(Base):
    """A proven mail login. (backend, server, login) opens the account, never an address alone."""

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
    """A key to the JSON API. Only its SHA-256 is kept; the token itself is shown once."""

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    session_epoch: Mapped[int] = mapped_column(BigInteger, default=0)  # "log out everywhere" ends tokens too
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()
