"""Replacing a campaign's email by a template or a file, and restoring the previous email."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from ..errors import Conflict, _
from ..models import Campaign, EarlierEmail, Template
from ..rendering import PARTS
from .drafts import update_draft

KEPT = (*PARTS, "template_id")


def replace_email(session: Session, campaign: Campaign, changes: Mapping[str, Any], now: datetime) -> None:
    """Save ``changes`` as ``update_draft`` does, and keep the email they replace.

    An empty email is not kept. Raise what ``update_draft`` raises; then nothing is changed.
    """
    before = {name: getattr(campaign, name) for name in KEPT}
    update_draft(session, campaign, changes, now)
    after = {name: getattr(campaign, name) for name in KEPT}
    if after != before and (before["html"].strip() or before["text"].strip()):
        session.merge(EarlierEmail(campaign_id=campaign.id, parts=before, replaced_at=now))
        session.flush()


def bring_back(session: Session, campaign: Campaign, now: datetime) -> None:
    """Swap the email with the previous one, so that calling this twice changes nothing.

    Raise ``Conflict`` when there is none.
    """
    earlier = session.get(EarlierEmail, campaign.id)
    if earlier is None:
        raise Conflict(_("There is no previous version to restore."))
    parts = dict(earlier.parts)
    if parts["template_id"] and session.get(Template, parts["template_id"]) is None:
        parts["template_id"] = None  # the template has been deleted since
    replace_email(session, campaign, parts, now)


def has_earlier(session: Session, campaign: Campaign) -> bool:
    return session.get(EarlierEmail, campaign.id) is not None
