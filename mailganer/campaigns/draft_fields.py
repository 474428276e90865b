"""Fields of a draft campaign: limits, and validation of what a user entered."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from ..errors import InputError, NotFound, _
from ..i18n.languages import is_language, language_names
from ..models import Campaign, Sender, SubscriberList, Template, owned, owned_rows
from ..rendering import NEVER_READ, PARTS
from .sending_hours import Hours
from .values import BUILTIN, kept_value, value_of, variables

LONGEST_NAME = 200  # the width of the column
LONGEST_LINE = 2_000  # characters of subject and preheader as templates; they render to short texts
LONGEST_EMAIL = 1_000_000  # characters; email apps and the renderer reject more
LONGEST_VALUE = 10_000  # characters of one variable, like one field of a subscriber
MOST_VARIABLES = 100
FURTHEST = timedelta(days=731)  # a date more than two years away is probably a typing error
LATE = timedelta(minutes=1)  # "now" by the client's clock may be slightly in the past by ours

EMAIL_FIELDS = frozenset({*PARTS, "template_id", "variables"})
FIELDS = EMAIL_FIELDS | {
    "name",
    "lists",
    "senders",
    "locale",
    "track_opens",
    "track_clicks",
    "send_at",
    "not_after",
    "hours",
}


class DraftChanges:
    """Validator of changed fields; collects the errors by field."""

    def __init__(
        self, session: Session, campaign: Campaign, changes: Mapping[str, Any], now: datetime
    ) -> None:
        self._session, self._campaign, self._changes, self._now = session, campaign, changes, now
        self._problems: dict[str, str] = {}
        self._result: dict[str, Any] = {}

    def checked(self) -> dict[str, Any]:
        """Return the values to store. Raise ``InputError`` with every invalid field."""
        readers: dict[str, Callable[[Any], Any]] = {
            "name": lambda value: _line(value, LONGEST_NAME),
            "subject": lambda value: _line(value, LONGEST_LINE),
            "preheader": lambda value: _line(value, LONGEST_LINE),
            "html": _body,
            "text": _body,
            "variables": check_variables,
            "lists": self._lists,
            "senders": self._senders,
            "locale": _locale,
            "track_opens": bool,
            "track_clicks": bool,
            "send_at": lambda value: check_start_time(value, self._now) if value else None,
            "not_after": lambda value: check_latest(value, self._now) if value else None,
            "hours": self._hours,
            "template_id": self._template_id,
        }
        for name, read in readers.items():
            if name in self._changes:
                self._read(name, read)
        if self._problems:
            raise InputError(self._problems)
        return self._result

    def _read(self, name: str, read: Callable[[Any], Any]) -> None:
        try:
            self._result[name] = read(self._changes[name])
        except InputError as error:
            self._problems[name] = next(iter(error.fields.values()))

    def _hours(self, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Parse the hours. Without a time zone, the account's applies."""
        if not value:
            return None
        return Hours.from_json({"timezone": self._campaign.account.timezone, **value}).as_json()

    def _lists(self, ids: Iterable[int]) -> list[SubscriberList]:
        try:
            found = owned_rows(self._session, SubscriberList, self._campaign.account_id, ids)
        except NotFound:
            raise InputError({"": _("This list does not exist.")}) from None
        return sorted(found, key=lambda each: each.name)  # in the order in which the campaign returns them

    def _senders(self, ids: Iterable[int]) -> list[Sender]:
        try:
            return owned_rows(self._session, Sender, self._campaign.account_id, ids)
        except NotFound:
            raise InputError({"": _("This sender does not exist.")}) from None

    def _template_id(self, template_id: int | None) -> int | None:
        """Also copy the template's email into every part not given.

        If the campaign uses this template already, only into empty parts: edited ones stay.
        """
        if template_id is None:
            return None
        try:
            template = owned(self._session, Template, self._campaign.account_id, template_id)
        except NotFound:
            raise InputError({"": _("This template does not exist.")}) from None
        anew = template_id != self._campaign.template_id
        for part in PARTS:
            if part not in self._changes and (anew or not getattr(self._campaign, part).strip()):
                self._result[part] = getattr(template, part)
        return template_id


def check_start_time(send_at: datetime, now: datetime) -> datetime:
    """Validate a start time, and raise it to ``now`` at least. Raise ``InputError``."""
    check_latest(send_at, now, "send_at")
    if send_at < now - LATE:
        raise InputError({"send_at": _("This time has passed. Choose a later time or send now.")})
    return max(send_at, now)


def check_latest(at: datetime, now: datetime, field: str = "not_after") -> datetime:
    """Validate that a time is within two years. Whether it can still be met is part of the check."""
    if at.tzinfo is None:
        raise InputError({field: _("The time needs a time zone, for example 2026-12-04T10:00:00+03:00.")})
    if at > now + FURTHEST:
        raise InputError({field: _("This date is more than two years away. Choose an earlier one.")})
    if at < now - FURTHEST:
        raise InputError({field: _("This time has passed. Choose a later time or send now.")})
    return at


def clean_text(value: str) -> str:
    """Return text as it is stored: no NUL (PostgreSQL cannot store it), normalized line breaks."""
    return value.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


def clean_line(value: str) -> str:
    """Join pasted text into one line."""
    return re.sub(r"\s*\n\s*", " ", clean_text(value)).strip()


def _line(value: str, longest: int) -> str:
    line = clean_line(value)
    if len(line) > longest:
        raise InputError(
            {
                "": _(
                    "The value is too long. The maximum is ${longest} characters.",
                    mapping={"longest": longest},
                )
            }
        )
    return line


def _body(value: str) -> str:
    if len(value) > LONGEST_EMAIL:
        raise InputError({"": _("This email is larger than 1 MB. Email apps would not show it.")})
    return clean_text(value)


def _locale(value: str) -> str:
    if not is_language(value):
        known = ", ".join(f"{name} ({code})" for code, name in language_names())
        raise InputError(
            {"": _("Choose one of these languages: ${languages}.", mapping={"languages": known})}
        )
    return value


def check_variables(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a campaign's variables as they are stored. Raise ``InputError`` under "variables"."""
    if len(stored) > MOST_VARIABLES:
        raise InputError(
            {"variables": _("A campaign can have ${most} variables.", mapping={"most": MOST_VARIABLES})}
        )
    kept = {}
    for name, text, override in variables(stored):
        _require_variable(name, text)
        value = kept_value(value_of(stored[name]))
        kept[name] = {"value": clean_text(value) if isinstance(value, str) else value, "override": override}
    return kept


def _require_variable(name: str, value: str) -> None:
    if not re.fullmatch(r"[^\W\d_]\w{0,62}", name) or name.lower() in NEVER_READ:
        raise InputError(
            {
                "variables": _(
                    "“${name}” is not a valid variable name. Use Latin letters, digits and _, starting "
                    "with a letter.",
                    mapping={"name": name[:40]},
                )
            }
        )
    if name in BUILTIN:
        raise InputError(
            {
                "variables": _(
                    "“${name}” is filled in by Mailganer. Choose another name.", mapping={"name": name}
                )
            }
        )
    if len(value) > LONGEST_VALUE:
        raise InputError(
            {
                "variables": _(
                    "The value of “${name}” is too long. The maximum is 10,000 characters.",
                    mapping={"name": name},
                )
            }
        )
