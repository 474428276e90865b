"""Granting of payments reported by payment providers, once for each payment."""

import hashlib
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import Conflict, _
from ..models import Account, Voucher
from ..settings import Plan, Settings
from .providers import PaymentNotification, PlanGranted, extended, grant


def take_payment(
    session: Session, provider: str, paid: PaymentNotification, *, settings: Settings, now: datetime
) -> PlanGranted | None:
    """Grant an account what was paid for. Return None if this payment has been granted before.

    Raise ``Conflict`` without such an account or plan, or where the account would lose something; the
    provider's server then repeats the notification, and the operator sees the error.
    """
    # Until the transaction ends: of two concurrent payments both count, a repeated one counts once.
    account = session.get(
        Account, paid.account_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if account is None or account.closed_at is not None:
        raise Conflict(
            _(
                "The payment is for account ${number}, which does not exist.",
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
                "The payment is for the plan “${plan}”, which is no longer available.",
                mapping={"plan": name},
            )
        )
    return found


def _receipt(code: str, paid: PaymentNotification, now: datetime) -> Voucher:
    """Return the record of a payment: a voucher redeemed when it was created."""
    return Voucher(
        code=code,
        plan=paid.plan,
        days=paid.days,
        created_at=now,
        redeemed_at=now,
        redeemed_by=paid.account_id,
    )


def _code_of(provider: str, payment: str) -> str:
    """Return a code that cannot be typed: codes of real vouchers have no small letters."""
    return "paid-" + hashlib.sha256(f"{provider}\n{payment}".encode()).hexdigest()[:32]
