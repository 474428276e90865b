"""Draft campaigns: create, save, duplicate, delete."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from ..accounts import account_senders
from ..errors import Conflict, InputError, NotFound, _
from ..i18n.languages import is_language, language_names, language_of
from ..models import (
    Account,
    Campaign,
    CampaignStatus,
    Sender,
    SenderStatus,
    SubscriberList,
    Template,
    campaign_sender,
    owned,
    owned_rows,
)
from ..rendering import NEVER_READ, PARTS
from .sending_hours import Hours
from .values import BUILTIN, kept_value, value_of, variables

LONGEST_NAME = 200  # the width of the column
LONGEST_LINE = 2_000  # characters of subject and preheader as templates; they render to short texts
LONGEST_EMAIL = 1_000_000  # characters; mail clients and the renderer reject more
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

EDITABLE: Mapping[CampaignStatus, frozenset[str]] = {
    CampaignStatus.draft: FIELDS,
    CampaignStatus.scheduled: frozenset({"name"}),
    CampaignStatus.sending: frozenset({"name"}),
    # The remaining recipients may get a corrected email: resuming makes a new version of it.
    CampaignStatus.paused: EMAIL_FIELDS | {"name"},
    CampaignStatus.finished: frozenset({"name"}),
    CampaignStatus.cancelled: frozenset({"name"}),
}

_WHY_NOT: Mapping[CampaignStatus, str] = {
    CampaignStatus.scheduled: _("This campaign is scheduled. Take it back to a draft to change it."),
    CampaignStatus.sending: _(
        "This campaign is being sent. Pause it to change the email for those who wait."
    ),
    CampaignStatus.paused: _(
        "While it is paused only the email can be changed: the people are already chosen."
    ),
    CampaignStatus.finished: _("This campaign has been sent. Duplicate it to write another one like it."),
    CampaignStatus.cancelled: _("This campaign was stopped. Duplicate it to write another one like it."),
}


CHANGED = _("This campaign was changed meanwhile, perhaps in another tab. Open it again to see the change.")


def create_draft(session: Session, account: Account, now: datetime) -> Campaign:
    """Create an empty draft with the first ready sender, in the account's language."""
    campaign = Campaign(
        account_id=account.id,
        locale=language_of(account.locale).code,
        created_at=now,
        updated_at=now,
    )
    senders = account_senders(session, account.id)
    ready = [sender for sender in senders if sender.status is not SenderStatus.failing]
    campaign.senders.extend((ready or senders)[:1])
    session.add(campaign)
    session.flush()
    return campaign


def update_draft(
    session: Session,
    campaign: Campaign,
    changes: Mapping[str, Any],
    now: datetime,
    *,
    revision: int | None = None,
) -> Campaign:
    """Save ``changes`` (names of ``FIELDS``; lists and senders as ids) as far as the status allows.

    ``revision`` is the one the user was looking at. Raise ``Conflict`` when another save came first or the
    campaign can no longer be changed, ``InputError`` with every invalid field; then nothing is changed.
    """
    lock(session, campaign)
    _require_editable(campaign, changes)
    if revision is not None and revision != campaign.revision:
        raise Conflict(CHANGED)
    checked = _Changes(session, campaign, changes, now).checked()
    changed = {name: value for name, value in checked.items() if getattr(campaign, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(campaign, name, value)
        campaign.revision += 1
        campaign.updated_at = now
        session.flush()
        if "senders" in changed:
            _keep_order(session, campaign, changed["senders"])
    return campaign


def duplicate(session: Session, campaign: Campaign, now: datetime) -> Campaign:
    """Create a draft with the same lists, email and senders."""
    copied = (
        *(*PARTS, "template_id"),
        *("locale", "track_opens", "track_clicks", "hours"),
    )
    copy = Campaign(
        account_id=campaign.account_id,
        name=copy_name(campaign.name),
        variables=dict(campaign.variables),
        created_at=now,
        updated_at=now,
        **{name: getattr(campaign, name) for name in copied},
    )
    copy.lists.extend(campaign.lists)
    copy.senders.extend(sender for sender in campaign.senders if sender.deleted_at is None)
    session.add(copy)
    session.flush()
    return copy


def delete_draft(session: Session, campaign: Campaign) -> None:
    """Delete a campaign that was never sent. Raise ``Conflict`` for any other."""
    lock(session, campaign)
    never_started = campaign.status is CampaignStatus.cancelled and campaign.started_at is None
    if campaign.status is not CampaignStatus.draft and not never_started:
        raise Conflict(_("Only a draft can be deleted. What was sent stays, with its report."))
    session.delete(campaign)
    session.flush()


def lock(session: Session, campaign: Campaign) -> None:
    """Reload the campaign and lock it until this transaction ends.

    Raise ``NotFound`` when it was deleted.
    """
    session.flush()
    try:
        session.refresh(campaign, with_for_update=True)
    except InvalidRequestError:
        raise NotFound() from None


def copy_name(name: str) -> str:
    """Return the name for a copy: "News" -> "News (2)", "News (2)" -> "News (3)"; "" stays ""."""
    if not name:
        return ""
    match = re.fullmatch(r"(.*) \((\d{1,4})\)", name)
    stem, number = (match[1], int(match[2]) + 1) if match else (name, 2)
    tail = f" ({number})"
    return stem[: LONGEST_NAME - len(tail)] + tail


def check_moment(send_at: datetime, now: datetime) -> datetime:
    """Validate a start time, and raise it to ``now`` at least. Raise ``InputError``."""
    check_latest(send_at, now, "send_at")
    if send_at < now - LATE:
        raise InputError({"send_at": _("This time has passed. Choose a later one, or send now.")})
    return max(send_at, now)


def check_latest(moment: datetime, now: datetime, field: str = "not_after") -> datetime:
    """Validate that a time is within two years. Whether it can still be met is part of the check."""
    if moment.tzinfo is None:
        raise InputError({field: _("The time needs a time zone, like 2026-12-04T10:00:00+03:00.")})
    if moment > now + FURTHEST:
        raise InputError({field: _("This is more than two years away. Choose an earlier date.")})
    if moment < now - FURTHEST:
        raise InputError({field: _("This time has passed. Choose a later one, or send now.")})
    return moment


def clean_text(value: str) -> str:
    """Return text as it is stored: no NUL (PostgreSQL cannot store it), normalized line breaks."""
    return value.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


def clean_line(value: str) -> str:
    """Join pasted text into one line."""
    return re.sub(r"\s*\n\s*", " ", clean_text(value)).strip()


def _keep_order(session: Session, campaign: Campaign, senders: Iterable[Sender]) -> None:
    for position, sender in enumerate(senders):
        session.execute(
            update(campaign_sender)
            .where(campaign_sender.c.campaign_id == campaign.id, campaign_sender.c.sender_id == sender.id)
            .values(position=position)
        )


def _require_editable(campaign: Campaign, changes: Mapping[str, Any]) -> None:
    unknown = changes.keys() - FIELDS
    if unknown:
        raise InputError({name: _("A campaign has no such field.") for name in sorted(unknown)})
    if changes.keys() - EDITABLE[campaign.status]:
        raise Conflict(_WHY_NOT[campaign.status])


class _Changes:
    """Validator of all changed fields; collects the errors by field."""

    def __init__(
        self, session: Session, campaign: Campaign, changes: Mapping[str, Any], now: datetime
    ) -> None:
        self.session, self.campaign, self.changes, self.now = session, campaign, changes, now
        self.problems: dict[str, str] = {}
        self.result: dict[str, Any] = {}

    def checked(self) -> dict[str, Any]:
        readers: dict[str, Callable[[Any], Any]] = {
            "name": lambda value: self.line(value, LONGEST_NAME),
            "subject": lambda value: self.line(value, LONGEST_LINE),
            "preheader": lambda value: self.line(value, LONGEST_LINE),
            "html": lambda value: self.body(value),
            "text": lambda value: self.body(value),
            "variables": self.variables,
            "lists": self.lists,
            "senders": self.senders,
            "locale": self.locale,
            "track_opens": bool,
            "track_clicks": bool,
            "send_at": lambda value: check_moment(value, self.now) if value else None,
            "not_after": lambda value: check_latest(value, self.now) if value else None,
            "hours": self.hours,
            "template_id": self.template,
        }
        for name, read in readers.items():
            if name in self.changes:
                self.read(name, read)
        if self.problems:
            raise InputError(self.problems)
        return self.result

    def read(self, name: str, read: Callable[[Any], Any]) -> None:
        try:
            self.result[name] = read(self.changes[name])
        except InputError as error:
            self.problems[name] = next(iter(error.fields.values()))

    def line(self, value: str, longest: int) -> str:
        line = clean_line(value)
        if len(line) > longest:
            raise InputError(
                {"": _("This is too long: ${longest} characters fit.", mapping={"longest": longest})}
            )
        return line

    def body(self, value: str) -> str:
        if len(value) > LONGEST_EMAIL:
            raise InputError({"": _("This email is larger than a megabyte. No mail program would show it.")})
        return clean_text(value)

    def variables(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return check_variables(value)

    def hours(self, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Parse the hours. Without a time zone, the account's applies."""
        if not value:
            return None
        return Hours.from_json({"timezone": self.campaign.account.timezone, **value}).as_json()

    def lists(self, ids: Iterable[int]) -> list[SubscriberList]:
        try:
            found = owned_rows(self.session, SubscriberList, self.campaign.account_id, ids)
        except NotFound:
            raise InputError({"": _("There is no such list.")}) from None
        return sorted(found, key=lambda each: each.name)  # in the order in which the campaign returns them

    def senders(self, ids: Iterable[int]) -> list[Sender]:
        try:
            return owned_rows(self.session, Sender, self.campaign.account_id, ids)
        except NotFound:
            raise InputError({"": _("There is no such sender.")}) from None

    def locale(self, value: str) -> str:
        if not is_language(value):
            known = ", ".join(f"{name} ({code})" for code, name in language_names())
            raise InputError(
                {"": _("Choose one of these languages: ${languages}.", mapping={"languages": known})}
            )
        return value

    def template(self, template_id: int | None) -> int | None:
        """Also copy the template's email into every part not given.

        If the campaign uses this template already, only into empty parts: edited ones stay.
        """
        if template_id is None:
            return None
        try:
            template = owned(self.session, Template, self.campaign.account_id, template_id)
        except NotFound:
            raise InputError({"": _("There is no such template.")}) from None
        anew = template_id != self.campaign.template_id
        for part in PARTS:
            if part not in self.changes and (anew or not getattr(self.campaign, part).strip()):
                self.result[part] = getattr(template, part)
        return template_id


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
                    "“${name}” cannot name a variable: take letters, digits and _, a letter first.",
                    mapping={"name": name[:40]},
                )
            }
        )
    if name in BUILTIN:
        raise InputError(
            {
                "variables": _(
                    "“${name}” is filled by Mailganer itself. Choose another name.", mapping={"name": name}
                )
            }
        )
    if len(value) > LONGEST_VALUE:
        raise InputError(
            {
                "variables": _(
                    "The value of “${name}” is too long: 10,000 characters fit.", mapping={"name": name}
                )
            }
        )
