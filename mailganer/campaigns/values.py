"""Values of a recipient for templates: the only place where they are made.

Preview, test email, lane, click redirect and the email in the browser all use this module, so that a
recipient always sees what the sender previewed. The values are the recipient's own fields, then ``campaign``,
``list``, ``sender`` and ``today``, which no field can replace.

Two things are not values: the campaign's own variables are templates and part of the compiled email
(``CompiledEmail.fills``: defaults or replacements); ``unsubscribe_url`` and ``browser_url`` belong to a
delivery, and ``rendering`` adds them from its ``Urls``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import SubscriberList, list_member

BUILTIN = frozenset({"campaign", "list", "sender", "today", "unsubscribe_url", "browser_url"})
"""Names that Mailganer fills itself. Fields and campaign variables cannot use them."""


class Variable(NamedTuple):
    """A campaign's own variable."""

    name: str
    value: str
    override: bool  # True: for all recipients; False: only for those without a value


def variables(stored: Mapping[str, Any]) -> tuple[Variable, ...]:
    """Parse a campaign's variables from their column, in the order they were written."""
    return tuple(_variable(name, each) for name, each in stored.items())


def given_variables(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a campaign's variables as clients give them: a plain value unless it overrides."""
    return {name: each if _overrides(each) else value_of(each) for name, each in stored.items()}


def kept_value(value: Any) -> str | int | float:
    """Return a finite number unchanged, because JSON can represent it; convert any other value to text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return str(value)
    return value


def _overrides(stored: Any) -> bool:
    return isinstance(stored, Mapping) and bool(stored.get("override", False))


def value_of(stored: Any) -> Any:
    """Return the value of a variable from the column or from a request."""
    return stored.get("value", "") if isinstance(stored, Mapping) else stored


def _variable(name: str, stored: Any) -> Variable:
    return Variable(name, str(value_of(stored)), _overrides(stored))


@dataclass(frozen=True)
class SharedValues:
    """Values common to all recipients of a campaign through one sender."""

    campaign_name: str
    sender_name: str
    sender_email: str
    list_name: str  # the only list, or the first one for a recipient without values
    today: date

    @classmethod
    def of(
        cls,
        *,
        campaign_name: str,
        sender_name: str,
        sender_email: str,
        list_names: Sequence[str],
        timezone: str,
        now: datetime,
    ) -> "SharedValues":
        """Build from plain data. ``today`` is the current day in the account's time zone."""
        list_name = list_names[0] if list_names else ""
        today = now.astimezone(ZoneInfo(timezone)).date()
        return cls(campaign_name, sender_name, sender_email, list_name, today)


class CampaignValues:
    """Factory for the values of recipients; built once per campaign and sender.

    It merges two dictionaries per recipient: this is in the inner loop of a lane.
    """

    __slots__ = ("_list_name", "_shared")

    def __init__(self, shared: SharedValues) -> None:
        self._list_name = shared.list_name
        self._shared: dict[str, object] = {
            "campaign": {"name": shared.campaign_name},
            "list": {"name": shared.list_name},
            "sender": {"name": shared.sender_name, "email": shared.sender_email},
            "today": shared.today,
        }

    def of(self, own_values: Mapping[str, object], list_name: str | None = None) -> dict[str, object]:
        """Return the values of a recipient with ``own_values`` (``audience.subscriber_values``).

        ``list_name`` is the list this recipient is on, if the campaign has several.
        """
        values = {**own_values, **self._shared}
        if list_name is not None and list_name != self._list_name:
            values["list"] = {"name": list_name}
        return values


def values_for(
    own_values: Mapping[str, object], shared: SharedValues, list_name: str | None = None
) -> dict[str, object]:
    """Return the values of one recipient. For many recipients, keep a :class:`CampaignValues`."""
    return CampaignValues(shared).of(own_values, list_name)


def list_names_of(session: Session, list_ids: Iterable[int], subscriber_ids: Iterable[int]) -> dict[int, str]:
    """Return the list name by subscriber id: the first by name of these lists that the subscriber is on."""
    rows = session.execute(
        select(list_member.c.subscriber_id, SubscriberList.name)
        .join(SubscriberList, SubscriberList.id == list_member.c.list_id)
        .where(
            list_member.c.list_id.in_(list(list_ids)),
            list_member.c.subscriber_id.in_(list(subscriber_ids)),
        )
        .order_by(SubscriberList.name.desc(), SubscriberList.id.desc())
    )
    return {row.subscriber_id: row.name for row in rows}  # in descending order: the first name wins
