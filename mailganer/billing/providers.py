"""Payment providers: the base class, and how providers are loaded.

A provider is a class with an entry point in the group ``mailganer.payments``; the operator enables it in the
setting ``mailganer.payments``. It never grants anything itself: it returns what was paid for, and
``billing.payments`` changes the account, once for each payment.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import ClassVar

from sqlalchemy.orm import Session

from ..errors import Conflict, MailganerError, SettingsError, _
from ..models import Account
from ..settings import Plan, Settings
from .current_plan import plan_of, plan_runs_until

GROUP = "mailganer.payments"


@dataclass(frozen=True)
class PaymentField:
    """A form field on the plan page that a provider needs."""

    name: str
    label: str
    help: str = ""


@dataclass(frozen=True)
class PlanGranted:
    """The payment is complete: the account has this plan until this time."""

    plan: Plan
    until: datetime


@dataclass(frozen=True)
class Redirect:
    """Not paid yet: the user continues at this URL, and the provider's server notifies us of the result.

    The URL, or the data at the provider's server, has to identify the account (``account.id``).
    """

    url: str


@dataclass(frozen=True)
class PaymentNotification:
    """A complete payment reported by the provider's server."""

    payment: str  # its id at the provider: reported twice, it is granted once
    account_id: int
    plan: str  # its name in the settings
    days: int


class InvalidSignature(MailganerError):
    """The signature of a provider's notification is missing, wrong or too old."""

    def __init__(
        self, message: str = _("The signature of the payment provider is missing or invalid.")
    ) -> None:
        super().__init__(message)


class PaymentProvider(ABC):
    """A payment method. Instantiated once at start; keeps no state about users between calls."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str] = ""
    fields: ClassVar[tuple[PaymentField, ...]] = ()
    chooses_plan: ClassVar[bool] = (
        True  # False: the filled-in fields determine what is paid for, as with a voucher
    )

    @abstractmethod
    def begin(
        self,
        session: Session,
        account: Account,
        answers: Mapping[str, str],
        *,
        plan: Plan | None,
        settings: Settings,
        now: datetime,
    ) -> PlanGranted | Redirect:
        """Begin a payment after the user submitted the form. Raise ``InputError`` by field, or ``Conflict``.

        No transaction is open yet: a provider that calls its own server does so before it uses ``session``.
        It has 15 seconds in total; the page shows that it is waiting.
        """

    def notified(
        self, headers: Mapping[str, str], body: bytes, *, settings: Settings, now: datetime
    ) -> PaymentNotification | None:
        """Handle a notification of the provider's server: ``POST /payments/NAME`` of this installation.

        ``body`` is unmodified: signatures are over bytes. Verify here that the notification is genuine,
        fresh, and has the amount that the plan costs, before anything in it is used; otherwise raise
        ``InvalidSignature``. The same notification may arrive twice, late and out of order. No transaction
        is open: the provider may be called for more. Return None if nothing was paid.
        """
        return None


def load_providers(names: Sequence[str]) -> Mapping[str, PaymentProvider]:
    """Load the providers named in the settings, in their order.

    Raise ``SettingsError`` with a sentence for each one that is missing or broken.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    providers: dict[str, PaymentProvider] = {}
    problems: list[str] = []
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            problems.append(
                f"mailganer.payments names {name!r}, and no installed package has it. Installed: {known}."
            )
            continue
        try:
            kind = found[name].load()
            usable = isinstance(kind, type) and issubclass(kind, PaymentProvider)
            provider = kind() if usable else None
        except Exception as error:  # a plugin may raise any exception while it is imported and instantiated
            problems.append(f"The payment provider {name!r} cannot be loaded: {error}")
            continue
        if provider is None:
            problems.append(f"The payment provider {name!r} is no subclass of PaymentProvider.")
        else:
            providers[name] = provider
    if problems:
        raise SettingsError(problems)
    return MappingProxyType(providers)


def extended(account: Account, plan: Plan, days: int, settings: Settings, now: datetime) -> datetime:
    """Return the end of ``plan`` after adding ``days``: to the current end of the same plan, else to now.

    Raise ``Conflict`` where that would lose something: a plan without an end, or a bigger one.
    """
    current, until = plan_of(account, settings, now), plan_runs_until(account, now)
    if current == settings.plans[0]:
        return now + timedelta(days=days)
    if until is None:
        raise Conflict(
            _(
                "Your plan “${plan}” has no end date, so it cannot be extended.",
                mapping={"plan": current.title},
            )
        )
    if settings.plans.index(current) > settings.plans.index(plan):
        raise Conflict(
            _(
                "This code is for the plan “${smaller}”, but your plan “${bigger}” is still active. "
                "Redeem it when that plan ends.",
                mapping={"smaller": plan.title, "bigger": current.title},
            )
        )
    return (until if current == plan else now) + timedelta(days=days)


def grant(account: Account, plan: Plan, until: datetime) -> PlanGranted:
    account.plan, account.plan_until = plan.name, until
    return PlanGranted(plan, until)
