"""Ways to pay: the class a provider derives from, and how providers are found.

A provider is a class with an entry point in the group ``mailganer.payments``; the operator names it in
``mailganer.payments``. It never grants anything by itself: it answers with what was paid for, and
``payments`` in this room changes the account, once for each payment.
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
from .limits import plan_of, plan_runs_until

GROUP = "mailganer.payments"


@dataclass(frozen=True)
class PaymentField:
    """A field of the form on the plan page that a provider needs filled in."""

    name: str
    label: str
    help: str = ""


@dataclass(frozen=True)
class Done:
    """Paid: the account has this plan until then."""

    plan: Plan
    until: datetime


@dataclass(frozen=True)
class GoTo:
    """Not paid yet: the person goes on at this address, and the provider's server tells us the end.

    The address, or what the provider's server remembers of it, has to name the account (``account.id``).
    """

    url: str


@dataclass(frozen=True)
class Paid:
    """A payment that the provider's server has told of, and that is complete."""

    payment: str  # its number at the provider: told twice, it is granted once
    account_id: int
    plan: str  # its name in the settings
    days: int


class NotGenuine(MailganerError):
    """What came in a provider's name is not from it: no signature, a wrong one, one that is too old."""

    def __init__(self, message: str = _("This is not signed by the payment provider.")) -> None:
        super().__init__(message)


class PaymentProvider(ABC):
    """One way to pay. Built once at start; keeps nothing about anybody between calls."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str] = ""
    fields: ClassVar[tuple[PaymentField, ...]] = ()
    chooses_plan: ClassVar[bool] = (
        True  # False: what is paid for is said by what is filled in, as with a voucher
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
    ) -> Done | GoTo:
        """Begin a payment when the person has pressed the button. Raises ``InputError`` by field, or
        ``Conflict``.

        No transaction is open yet: a provider that asks its own server does so before it uses ``session``. It
        has 15 seconds in all; a page that waits shows that it does.
        """

    def notified(
        self, headers: Mapping[str, str], body: bytes, *, settings: Settings, now: datetime
    ) -> Paid | None:
        """The provider's server says something: ``POST /payments/NAME`` of this installation.

        ``body`` is as it came: signatures are over bytes. Whether the news is genuine, fresh, and of the
        amount that the plan costs is found out here, before anything is believed; raises ``NotGenuine``.
        The same news may come twice, late and out of order. No transaction is open: the provider may be
        asked for more. None: nothing that was paid.
        """
        return None


def load_providers(names: Sequence[str]) -> Mapping[str, PaymentProvider]:
    """The providers that the settings name, in their order.

    Raises ``SettingsError``, a sentence for each one that is missing or broken.
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
        except Exception as error:  # a plugin may fail in any way while it is imported and built
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
    """Until when ``plan`` would hold with ``days`` more: after what there is of the same plan, else from now.

    Raises ``Conflict`` where that would take something away: a plan without an end, or a bigger one.
    """
    current, until = plan_of(account, settings, now), plan_runs_until(account, now)
    if current == settings.plans[0]:
        return now + timedelta(days=days)
    if until is None:
        raise Conflict(
            _("The plan “${plan}” has no end here: there is nothing to add.", mapping={"plan": current.title})
        )
    if settings.plans.index(current) > settings.plans.index(plan):
        raise Conflict(
            _(
                "This is for the plan “${smaller}”, and “${bigger}” still runs. It keeps: use it after that.",
                mapping={"smaller": plan.title, "bigger": current.title},
            )
        )
    return (until if current == plan else now) + timedelta(days=days)


def grant(account: Account, plan: Plan, until: datetime) -> Done:
    account.plan, account.plan_until = plan.name, until
    return Done(plan, until)
