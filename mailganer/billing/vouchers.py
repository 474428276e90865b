"""Vouchers: single-use codes for days of a plan. The payment method that needs no bank."""

import secrets
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ..db import changed_rows
from ..errors import InputError, _
from ..models import Account, Voucher
from ..settings import Plan, Settings
from .providers import PaymentField, PaymentProvider, PlanGranted, extended, grant

# Crockford's Base32: no I, L, O or U, so that printed codes are not misread.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS, LENGTH = 4, 4  # 80 random bits: cannot be guessed, and short enough to type
MOST_DAYS = 3660
MOST_AT_ONCE = 10_000

_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0"})


class VoucherProvider(PaymentProvider):
    name = "voucher"
    title = _("Voucher")
    help = _("Enter the 16-character code. Case and dashes do not matter.")
    fields = (PaymentField("code", _("Code")),)
    chooses_plan = False

    def begin(
        self,
        session: Session,
        account: Account,
        answers: Mapping[str, str],
        *,
        plan: Plan | None,
        settings: Settings,
        now: datetime,
    ) -> PlanGranted:
        return redeem_voucher(session, account, answers.get("code", ""), now, settings=settings)


def create_vouchers(session: Session, plan: str, days: int, count: int, now: datetime) -> list[Voucher]:
    """Create ``count`` codes, each worth ``days`` of ``plan``. Raise ``InputError`` for invalid numbers."""
    if not 1 <= days <= MOST_DAYS:
        raise InputError(
            {"days": _("A voucher must be valid for 1 to ${most} days.", mapping={"most": MOST_DAYS})}
        )
    if not 1 <= count <= MOST_AT_ONCE:
        raise InputError(
            {"count": _("You can create 1 to ${most} vouchers at a time.", mapping={"most": MOST_AT_ONCE})}
        )
    vouchers = [Voucher(code=new_code(), plan=plan, days=days, created_at=now) for _number in range(count)]
    session.add_all(vouchers)
    session.flush()
    return vouchers


def redeem_voucher(
    session: Session, account: Account, code: str, now: datetime, *, settings: Settings
) -> PlanGranted:
    """Redeem a code for days of its plan.

    Raise ``InputError`` (field ``code``) for a code that is unknown or used, and ``Conflict`` where the
    account would lose by it; the voucher then stays valid.
    """
    voucher = session.scalar(select(Voucher).where(Voucher.code == normalised(code)))
    if voucher is None:
        raise InputError({"code": _("This code is not valid. A code looks like 7K3M-9Q2X-4TBD-W6HA.")})
    if voucher.redeemed_at is not None:
        raise InputError({"code": _used(voucher, account)})
    plan = next((plan for plan in settings.plans if plan.name == voucher.plan), None)
    if plan is None:
        raise InputError(
            {"code": _("The plan of this code is no longer available. Ask the issuer of the code.")}
        )
    # Until the transaction ends: of two codes redeemed concurrently, the second adds to the first.
    session.refresh(account, with_for_update={"key_share": True})
    until = extended(account, plan, voucher.days, settings, now)
    _take(session, voucher, account, now)
    return grant(account, plan, until)


def _take(session: Session, voucher: Voucher, account: Account, now: datetime) -> None:
    """Mark a voucher as redeemed. Of two concurrent requests, one succeeds."""
    redeem = (
        update(Voucher)
        .where(Voucher.id == voucher.id, Voucher.redeemed_at.is_(None))
        .values(redeemed_at=now, redeemed_by=account.id)
    )
    if changed_rows(session, redeem) != 1:
        raise InputError({"code": _used(voucher, account)})


def _used(voucher: Voucher, account: Account) -> str:
    if voucher.redeemed_by == account.id:
        return _("You have already redeemed this code.")
    return _("This code has already been redeemed.")


def new_code() -> str:
    letters = "".join(secrets.choice(ALPHABET) for _place in range(GROUPS * LENGTH))
    return "-".join(letters[start : start + LENGTH] for start in range(0, len(letters), LENGTH))


def normalised(text: str) -> str:
    """Normalize a typed code to its stored form."""
    letters = "".join(each for each in text.upper().translate(_MISREAD) if each in ALPHABET)
    return "-".join(letters[start : start + LENGTH] for start in range(0, len(letters), LENGTH))
