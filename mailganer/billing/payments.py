"""What a payment provider's server tells of: a plan for some days, once for each payment."""

import hashlib
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import Conflict, _
from ..models import Account, Voucher
from ..settings import Plan, Settings
from .providers import Done, Paid, extended, grant


def take_payment(
    session: Session, provider: str, paid: Paid, *, settings: Settings, now: datetime
) -> Done | None:
    """Gives an account what was paid for. None: this payment has been granted before.

    Raises ``Conflict`` where there is nobody to give it to or no such plan, or where it would take something
    away; the provider's server then tells of it again, and its owner sees what is wrong.
    """
    # Until the transaction ends: two payments told at once both count, one told twice counts once.
    account = session.get(
        Account, paid.account_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if account is None or account.closed_at is not None:
        raise Conflict(
            _(
                "The account ${number}, which this payment is for, is not here.",
                mapping={"number": paid.account_id},
            )
        )
    code = _code_of(provider, paid.payment)
    if session.scalar(select(Voucher.id).where(Voucher.code == code)) is not None:
        return None
    plan = _plan(paid.plan, settings)
    until = extended(account, plan, paid.days, settings, now)
    session.add(_receipt(code, paid, now))
    return grant(account, plan, until)


def _plan(name: str, settings: Settings) -> Plan:
    found = next((plan for plan in settings.plans if plan.name == name), None)
    if found is None:
        raise Conflict(
            _(
                "The plan “${plan}”, which this payment is for, is no longer offered here.",
                mapping={"plan": name},
            )
        )
    return found


def _receipt(code: str, paid: Paid, now: datetime) -> Voucher:
    """A payment is kept as a voucher that was used the moment it was made."""
    return Voucher(
        code=code,
        plan=paid.plan,
        days=paid.days,
        created_at=now,
        redeemed_at=now,
        redeemed_by=paid.account_id,
    )


def _code_of(provider: str, payment: str) -> str:
    """A code that nobody can type: vouchers for people have no small letters."""
    return "paid-" + hashlib.sha256(f"{provider}\n{payment}".encode()).hexdigest()[:32]
