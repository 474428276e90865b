"""Billing: plans, their limits and usage, and payment providers.

``mailganer.billing`` is all that a payment provider imports; the entry-point group is ``mailganer.payments``,
and ``billing/vouchers.py`` is the built-in provider.
"""

from typing import TYPE_CHECKING

from .current_plan import (
    PlanUsage,
    plan_of,
    plan_quota,
    plan_runs_until,
    require_subscriber_room,
    subscriber_room,
    usage,
)
from .operators import is_operator
from .payments import take_payment
from .providers import (
    InvalidSignature,
    PaymentField,
    PaymentNotification,
    PaymentProvider,
    PlanGranted,
    Redirect,
    load_providers,
)
from .vouchers import create_vouchers, redeem_voucher

if TYPE_CHECKING:  # processes that send do not need Pyramid
    from pyramid.config import Configurator

__all__ = [
    "InvalidSignature",
    "PaymentField",
    "PaymentNotification",
    "PaymentProvider",
    "PlanGranted",
    "PlanUsage",
    "Redirect",
    "create_vouchers",
    "is_operator",
    "load_providers",
    "plan_of",
    "plan_quota",
    "plan_runs_until",
    "redeem_voucher",
    "require_subscriber_room",
    "subscriber_room",
    "take_payment",
    "usage",
]


def includeme(config: "Configurator") -> None:
    config.registry["payments"] = load_providers(config.registry["settings"].payments)
