"""Subscribers: add, change, erase."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, String, cast, delete, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.orm.attributes import flag_modified

from .. import subscriber_counts
from ..billing import require_subscriber_room
from ..errors import Conflict, InputError, NotFound, _
from ..ledger.engagement import erase_recipient
from ..models import (
    Account,
    Delivery,
    Event,
    IdempotentResponse,
    Import,
    ImportReject,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
)
from ..models.audience import make_search_key
from ..settings import Settings
from .addresses import Address, AddressError, parse_address
from .birthdays import BirthdayError, parse_birthday
from .fields import LONGEST_NAME, MOST_FIELDS, FieldValue, clean_fields, clean_value, has_control, is_same
from .lists import add_to_list, set_lists
from .subscriber_search import find_subscriber
from .suppression import SUPPRESSED, digest_of, remember_suppression, suppressed

_CHANGEABLE: Final = frozenset({"email", "first_name", "last_name", "birthday", "fields", "lists"})

_NO_ADDRESS: Final = Address("", "")  # stands in for an invalid address, whose error is already recorded

STOPPED: Final[Mapping[SubscriberStatus, str]] = {
    SubscriberStatus.unsubscribed: _("This subscriber unsubscribed. Only they can subscribe again."),
    SubscriberStatus.bounced: _(
        "The mail server rejects emails to this address. The subscriber is kept but gets no more emails."
    ),
    SubscriberStatus.complained: _("This subscriber marked an email as spam and gets no more emails."),
}
_FORGOTTEN: Final = _(
    "This address unsubscribed or was undeliverable, and was later deleted. It cannot be added again."
)
_BIRTHDAY: Final = {
    "birthday": _("This is not a valid date. Use 1990-05-14, 14.05.1990 or 14.05."),
    "birthday_unclear": _("Is the day or the month first? Write the birthday as 1990-05-14."),
}


@dataclass(frozen=True)
class Added:
    """Result of adding a subscriber. ``note`` is a sentence if they existed already and get no emails."""

    subscriber: Subscriber
    created: bool
    note: str | None = None


@dataclass(frozen=True)
class _Values:
    first_name: str
    last_name: str
    birthday: date | None
    fields: dict[str, FieldValue]


def add_subscriber(
    session: Session,
    account: Account,
    *,
    email: str,
    first_name: str = "",
    last_name: str = "",
    birthday: date | str | None = None,
    fields: Mapping[str, Any] | None = None,
    lists: Collection[SubscriberList] = (),
    now: datetime,
    settings: Settings,
) -> Added:
    """Add a subscriber to the account and to ``lists``.

    An existing subscriber is added to the lists and gets the given values; an unsubscribed one stays
    unsubscribed. Raise ``InputError`` with every invalid field, ``LimitReached`` when the plan is full, and
    ``Conflict`` for a suppressed address that was erased.
    """
    _require_own(account.id, lists)
    problems = _Problems()
    address = problems.address(email) or _NO_ADDRESS
    values = problems.values(first_name, last_name, birthday, fields or {}, now)
    problems.stop()
    # Serialize concurrent additions of the same address.
    session.execute(select(Account.id).where(Account.id == account.id).with_for_update(key_share=True))
    found = find_subscriber(session, account.id, address.key)
    if found is None:
        return _create(session, account, address, values, lists, now, settings)
    _fill(found, values, now)
    subscriber_counts.note_new_values(session, account.id)
    for lst in lists:
        add_to_list(session, lst, found, now)
    session.flush()
    return Added(found, created=False, note=STOPPED.get(found.status))


def update_subscriber(
    session: Session, subscriber: Subscriber, changes: Mapping[str, Any], now: datetime
) -> Subscriber:
    """Change a subscriber.

    ``changes`` may contain ``email``, ``first_name``, ``last_name``, ``birthday``, ``fields`` (merged; None
    or "" removes a field) and ``lists`` (the complete set). Raise ``InputError`` with every invalid field.
    """
    session.flush()
    session.refresh(subscriber, with_for_update=True)
    problems = _Problems()
    problems.unknown(changes.keys() - _CHANGEABLE)
    address = problems.address(changes["email"]) if "email" in changes else None
    values = problems.values(
        changes.get("first_name", subscriber.first_name),
        changes.get("last_name", subscriber.last_name),
        changes.get("birthday", subscriber.birthday),
        changes.get("fields") or {},
        now,
    )
    if address and address.key != subscriber.email_key:
        problems.taken(session, subscriber.account_id, address)
    problems.stop()
    if "lists" in changes:
        _require_own(subscriber.account_id, changes["lists"])
        set_lists(session, subscriber, changes["lists"], now)
    if address:
        _move(session, subscriber, address, now)
    _assign(subscriber, replace(values, fields=_merged(subscriber.fields, values.fields)), now)
    subscriber_counts.note_new_values(session, subscriber.account_id)
    session.flush()
    return subscriber


def erase_subscriber(session: Session, subscriber: Subscriber) -> None:
    """Delete a subscriber and all personal data; counts of past campaigns stay.

    Who unsubscribed, bounced or complained stays suppressed, as a hash. An email still waiting for them is
    not sent: its delivery points at no subscriber any more, so the pipeline skips it. Deliveries keep the
    same hash, so that the unsubscribe link in an email that was sent keeps working.
    """
    digest = digest_of(session, subscriber)
    emails = select(Delivery.id).where(Delivery.subscriber_id == subscriber.id)
    session.execute(update(Event).where(Event.delivery_id.in_(emails)).values(agent=""))
    erase_recipient(session, subscriber.id, digest)
    session.execute(_rejects_naming(subscriber))
    session.execute(_answers_naming(subscriber))
    subscriber_counts.count_removed(session, subscriber.account_id, [subscriber.id])
    session.delete(subscriber)
    session.flush()


class _Problems:
    """Validator of subscriber data from a form or a JSON body; collects the errors by field."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def stop(self) -> None:
        if self.found:
            raise InputError(self.found)

    def unknown(self, names: Collection[str]) -> None:
        self.found |= {name: _("Subscribers have no such field.") for name in sorted(names)}

    def address(self, email: str) -> Address | None:
        try:
            return parse_address(str(email or ""))
        except AddressError as error:
            self.found |= error.fields
            return None

    def taken(self, session: Session, account_id: int, address: Address) -> None:
        if find_subscriber(session, account_id, address.key):
            self.found["email"] = _("Another subscriber has this address.")
        elif suppressed(session, account_id, [address.key]):
            self.found["email"] = _FORGOTTEN

    def values(
        self,
        first_name: str | None,
        last_name: str | None,
        birthday: date | str | None,
        fields: Mapping[str, Any],
        now: datetime,
    ) -> _Values:
        return _Values(
            self.name("first_name", first_name or ""),
            self.name("last_name", last_name or ""),
            self.birthday(birthday, now.date()),
            self.fields(fields),
        )

    def name(self, field: str, value: str) -> str:
        value = clean_value(value)
        if has_control(value):
            self.found[field] = _("A name must be one line without control characters.")
        elif len(value) > LONGEST_NAME:
            self.found[field] = _("The name is too long. The maximum is 200 characters.")
        return value

    def birthday(self, value: date | str | None, today: date) -> date | None:
        text = value.isoformat() if isinstance(value, date) else value or ""
        try:
            return parse_birthday(text, today)
        except BirthdayError as error:
            self.found["birthday"] = _BIRTHDAY[error.code]
            return None

    def fields(self, fields: Mapping[str, Any]) -> dict[str, FieldValue]:
        try:
            return clean_fields(fields)
        except InputError as error:
            self.found |= error.fields
            return {}


def _create(
    session: Session,
    account: Account,
    address: Address,
    values: _Values,
    lists: Collection[SubscriberList],
    now: datetime,
    settings: Settings,
) -> Added:
    if suppressed(session, account.id, [address.key]):
        raise Conflict(_FORGOTTEN)
    require_subscriber_room(session, account, settings, now)
    subscriber = Subscriber(
        account_id=account.id, email=address.email, email_key=address.key, created_at=now, updated_at=now
    )
    _assign(subscriber, replace(values, fields=_merged({}, values.fields)), now)
    session.add(subscriber)
    session.flush()
    subscriber_counts.add_to_counts(session, account.id, None, {subscriber.status: 1})
    for lst in lists:
        add_to_list(session, lst, subscriber, now)
    return Added(subscriber, created=True)


def _fill(subscriber: Subscriber, values: _Values, now: datetime) -> None:
    """Replace values that are given; keep the others."""
    given = {name: value for name, value in values.fields.items() if value != ""}
    filled = _Values(
        values.first_name or subscriber.first_name,
        values.last_name or subscriber.last_name,
        values.birthday or subscriber.birthday,
        _merged(subscriber.fields, given),
    )
    _assign(subscriber, filled, now)


def _merged(fields: Mapping[str, FieldValue], changes: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    """Merge fields and drop emptied ones. Raise ``InputError`` when there are too many."""
    merged = {name: value for name, value in {**fields, **changes}.items() if value != ""}
    if len(merged) > MOST_FIELDS:
        raise InputError({"fields": _("Too many fields. The maximum is 100.")})
    return merged


def _assign(subscriber: Subscriber, values: _Values, now: datetime) -> None:
    before = (subscriber.first_name, subscriber.last_name, subscriber.birthday, subscriber.fields)
    after = (values.first_name, values.last_name, values.birthday, values.fields)
    key = make_search_key(subscriber.email_key, values.first_name, values.last_name)
    same_fields = is_same(subscriber.fields or {}, values.fields)
    if before == after and same_fields and subscriber.search_key == key:
        return
    subscriber.first_name, subscriber.last_name, subscriber.birthday, subscriber.fields = after
    if not same_fields:
        flag_modified(subscriber, "fields")  # SQLAlchemy considers 1 and True equal
    subscriber.search_key = key
    subscriber.updated_at = now


def _move(session: Session, subscriber: Subscriber, address: Address, now: datetime) -> None:
    """Change the address of a subscriber. A suppressed status moves to the new address."""
    if subscriber.email != address.email:
        subscriber.updated_at = now
    subscriber.email, subscriber.email_key = address.email, address.key
    session.flush()
    if subscriber.status in SUPPRESSED:
        remember_suppression(session, subscriber, now)


def _require_own(account_id: int, lists: Collection[SubscriberList]) -> None:
    if any(lst.account_id != account_id for lst in lists):
        raise NotFound()


def _rejects_naming(subscriber: Subscriber) -> Delete:
    """Delete the rejected rows that contain this address: they are stored for download."""
    own = select(Import.id).where(Import.account_id == subscriber.account_id)
    return delete(ImportReject).where(
        ImportReject.import_id.in_(own), _holds_address(ImportReject.cells, subscriber)
    )


def _answers_naming(subscriber: Subscriber) -> Delete:
    """Delete stored API responses about this subscriber: they are kept for a day for idempotency keys."""
    return delete(IdempotentResponse).where(
        IdempotentResponse.account_id == subscriber.account_id,
        _holds_address(IdempotentResponse.body, subscriber),
    )


def _holds_address(column: InstrumentedAttribute[Any], subscriber: Subscriber) -> ColumnElement[bool]:
    text = func.lower(cast(column, String))
    # SQLite stores JSON in ASCII and lowercases only that, so escaped letters differ by case.
    written = {subscriber.email_key, subscriber.email, subscriber.email_key.upper(), subscriber.email.upper()}
    forms = {each.lower() for each in written} | {json.dumps(each)[1:-1].lower() for each in written}
    return or_(*(text.contains(form, autoescape=True) for form in sorted(forms)))
