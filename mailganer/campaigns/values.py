"""What an email may say about one reader: the only place where a recipient's values are made.

Preview, test email, lane, click redirect and the email in the browser all come through here, so that a
reader never sees something else than the person who sent it did. A reader's own fields, then ``campaign``,
``list``, ``sender`` and ``today``, which no field can take.

Two things are not values: the campaign's own variables are templates, and part of the compiled email
(``Email.fills``: they fill a reader's gaps, or replace); ``unsubscribe_url`` and ``browser_url`` belong to a
delivery, and ``emails`` adds them from its ``Urls``.
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
"""Names that Mailganer fills itself. No field and no variable of a campaign can take them."""


class Variable(NamedTuple):
    """One of a campaign's own variables."""

    name: str
    value: str
    override: bool  # True: for everybody; False: only where the reader has nothing


def variables(stored: Mapping[str, Any]) -> tuple[Variable, ...]:
    """A campaign's variables out of their column, in the order they were written."""
    return tuple(_variable(name, each) for name, each in stored.items())


def given_variables(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A campaign's variables as they are given to us: a plain value, unless it is for everybody."""
    return {name: each if _overrides(each) else value_of(each) for name, each in stored.items()}


def kept_value(value: Any) -> str | int | float:
    """What JSON can say of a number stays a number; everything else is a text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return str(value)
    return value


def _overrides(stored: Any) -> bool:
    return isinstance(stored, Mapping) and bool(stored.get("override", False))


def value_of(stored: Any) -> Any:
    """The value of one variable out of the column, or out of what is given."""
    return stored.get("value", "") if isinstance(stored, Mapping) else stored


def _variable(name: str, stored: Any) -> Variable:
    return Variable(name, str(value_of(stored)), _overrides(stored))


@dataclass(frozen=True)
class Shared:
    """What is the same for every reader of a campaign that one sender writes to."""

    campaign_name: str
    sender_name: str
    sender_email: str
    list_name: str  # of the only list, or of the first one for whom we know nothing
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
    ) -> "Shared":
        """From plain data. ``today`` is the day it is where the account lives."""
        list_name = list_names[0] if list_names else ""
        today = now.astimezone(ZoneInfo(timezone)).date()
        return cls(campaign_name, sender_name, sender_email, list_name, today)


class CampaignValues:
    """Makes the values of one reader after another; built once per campaign and sender.

    One merge of two dictionaries a reader: this stands in the lane's inner loop.
    """

    __slots__ = ("_list_name", "_shared")

    def __init__(self, shared: Shared) -> None:
        self._list_name = shared.list_name
        self._shared: dict[str, object] = {
            "campaign": {"name": shared.campaign_name},
            "list": {"name": shared.list_name},
            "sender": {"name": shared.sender_name, "email": shared.sender_email},
            "today": shared.today,
        }

    def of(self, person: Mapping[str, object], list_name: str | None = None) -> dict[str, object]:
        """The values of a reader whose own are ``person`` (``audience.subscriber_values``).

        ``list_name`` is the list this reader is written to for, where the campaign has several.
        """
        values = {**person, **self._shared}
        if list_name is not None and list_name != self._list_name:
            values["list"] = {"name": list_name}
        return values


def values_for(
    person: Mapping[str, object], shared: Shared, list_name: str | None = None
) -> dict[str, object]:
    """The values of one reader. For many readers of one campaign keep a :class:`CampaignValues`."""
    return CampaignValues(shared).of(person, list_name)


def list_names_of(session: Session, list_ids: Iterable[int], subscriber_ids: Iterable[int]) -> dict[int, str]:
    """By subscriber id, the name of the list they are written to for: the first by name they are on."""
    rows = session.execute(
        select(list_member.c.subscriber_id, SubscriberList.name)
        .join(SubscriberList, SubscriberList.id == list_member.c.list_id)
        .where(
            list_member.c.list_id.in_(list(list_ids)),
            list_member.c.subscriber_id.in_(list(subscriber_ids)),
        )
        .order_by(SubscriberList.name.desc(), SubscriberList.id.desc())
    )
    return {row.subscriber_id: row.name for row in rows}  # the last one read is the first by name
