"""Draft campaigns: create, save, duplicate, delete."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from ..accounts import account_senders
from ..errors import Conflict, InputError, NotFound, _
from ..i18n.languages import language_of
from ..models import (
    Account,
    Campaign,
    CampaignStatus,
    Sender,
    SenderStatus,
    campaign_sender,
)
from ..rendering import PARTS
from .draft_fields import EMAIL_FIELDS, FIELDS, LONGEST_NAME, DraftChanges

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
    CampaignStatus.scheduled: _("This campaign is scheduled. Return it to draft to edit it."),
    CampaignStatus.sending: _(
        "This campaign is being sent. Pause it to edit the email for the remaining recipients."
    ),
    CampaignStatus.paused: _(
        "While the campaign is paused, only the email can be edited. The recipients are fixed."
    ),
    CampaignStatus.finished: _("This campaign has been sent. Duplicate it to send a similar one."),
    CampaignStatus.cancelled: _("This campaign was cancelled. Duplicate it to send a similar one."),
}


CHANGED = _(
    "This campaign was changed in the meantime, perhaps in another tab. Reload the page to see the changes."
)


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
    checked = DraftChanges(session, campaign, changes, now).checked()
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
        raise Conflict(_("Only a draft can be deleted. A sent campaign is kept with its report."))
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
