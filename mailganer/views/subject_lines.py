"""Subjects of campaigns as plain text, for pages."""

from datetime import datetime

from pyramid.threadlocal import get_current_request

from mailganer.campaigns.content import plain_line
from mailganer.db import utcnow
from mailganer.models import Campaign


def plain(template: str, at: datetime | None = None) -> str:
    """Return a subject as plain text, for the day of ``at`` (or today) in the user's time zone."""
    request = get_current_request()
    day = (at or utcnow()).astimezone(request.timezone).date()
    return plain_line(template, day, request.locale_name)


def subject_of(campaign: Campaign) -> str:
    """Return a campaign's subject as plain text, for the day of its start."""
    return plain(campaign.subject, campaign.started_at or campaign.send_at)
