"""What it costs: the plan an account has, what it has used of it, and the ways to pay.

``mailganer.billing`` is all that the author of a payment provider imports; the entry-point group is
``mailganer.payments``, and ``billing/vouchers.py`` is the provider that comes along.
"""

from typing import TYPE_CHECKING

from .limits import (
    PlanUsage,
    plan_of,
    plan_runs_until,
    require_subscriber_room,
    subscriber_room,
    usage,
)
from .operators import is_operator
from .payments import take_payment
from .providers import Done, GoTo, NotGenuine, Paid, PaymentField, PaymentProvider, load_providers
from .vouchers import create_vouchers, redeem_voucher

if TYPE_CHECKING:  # processes that send have no use for Pyramid
    from pyramid.config import Configurator

__all__ = [
    "Done",
    "GoTo",
    "NotGenuine",
    "Paid",
    "PaymentField",
    "PaymentProvider",
    "PlanUsage",
    "create_vouchers",
    "is_operator",
    "load_providers",
    "plan_of",
    "plan_runs_until",
    "redeem_voucher",
    "require_subscriber_room",
    "subscriber_room",
    "take_payment",
    "usage",
]


def includeme(config: "Configurator") -> None:
    config.registry["payments"] = load_providers(config.registry["settings"].payments)
