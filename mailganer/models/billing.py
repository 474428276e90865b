"""Vouchers and payments."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base, BigId


class Voucher(Base):
    """A code that grants days of a plan, once. A payment is a voucher too, redeemed when it is created."""

    __tablename__ = "voucher"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    plan: Mapped[str] = mapped_column(String(64))
    days: Mapped[int]
    created_at: Mapped[datetime]
    redeemed_at: Mapped[datetime | None]
    redeemed_by: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
