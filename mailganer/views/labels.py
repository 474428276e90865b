"""Labels used on many pages: statuses with tone and icon, and subjects."""

from dataclasses import dataclass
from datetime import datetime

from pyramid.threadlocal import get_current_request

from mailganer.campaigns.content import plain_line
from mailganer.db import utcnow
from mailganer.errors import _
from mailganer.i18n.sentences import pgettext
from mailganer.models import Campaign


@dataclass(frozen=True)
class Word:
    """Label of a status: never a color alone."""

    text: str
    tone: str  # good, wait, bad, news, calm
    icon: str


_WORDS = {
    # campaigns
    "draft": Word(_("Draft"), "calm", "draft"),
    "scheduled": Word(_("Scheduled"), "news", "calendar"),
    "sending": Word(_("Sending"), "news", "campaigns"),
    "paused": Word(_("Paused"), "wait", "pause"),
    "finished": Word(_("Finished"), "good", "done"),
    "cancelled": Word(_("Cancelled"), "calm", "stop"),
    # deliveries
    "pending": Word(_("Waiting"), "calm", "clock"),
    "sent": Word(_("Sent"), "good", "check"),
    "failed": Word(_("Not sent"), "bad", "problem"),
    "in_doubt": Word(_("In doubt"), "wait", "question"),
    "skipped": Word(_("Skipped"), "calm", "skip"),
    "bounced": Word(_("Bounced"), "bad", "undo"),
    # subscribers
    "active": Word(pgettext("one", "Subscribed"), "good", "check"),
    "unconfirmed": Word(pgettext("one", "Not confirmed"), "wait", "clock"),
    "unsubscribed": Word(pgettext("one", "Unsubscribed"), "calm", "leave"),
    "complained": Word(pgettext("one", "Marked as spam"), "bad", "warning"),
    # senders
    "ready": Word(_("Ready"), "good", "done"),
    "sleeping": Word(_("Waiting"), "wait", "sleep"),
    "failing": Word(_("Needs attention"), "bad", "warning"),
    # imports
    "reading": Word(_("Reading"), "news", "clock"),
    "applying": Word(_("Importing"), "news", "upload"),
    "done": Word(_("Done"), "good", "done"),
    "undone": Word(_("Undone"), "calm", "undo"),
}

_ELSEWHERE = {
    ("campaign", "waiting"): Word(_("Waiting"), "wait", "clock"),
    ("campaign", "stuck"): Word(_("Needs attention"), "bad", "warning"),
    # plural, for filters
    ("campaigns", "draft"): Word(_("Drafts"), "calm", "draft"),
    ("campaigns", "scheduled"): Word(pgettext("several", "Scheduled"), "news", "calendar"),
    ("campaigns", "sending"): Word(pgettext("several", "Sending"), "news", "campaigns"),
    ("campaigns", "paused"): Word(pgettext("several", "Paused"), "wait", "pause"),
    ("campaigns", "finished"): Word(pgettext("several", "Finished"), "good", "done"),
    ("campaigns", "cancelled"): Word(pgettext("several", "Cancelled"), "calm", "stop"),
    ("people", "active"): Word(_("Subscribed"), "good", "check"),
    ("people", "unconfirmed"): Word(_("Not confirmed"), "wait", "clock"),
    ("people", "unsubscribed"): Word(_("Unsubscribed"), "calm", "leave"),
    ("people", "bounced"): Word(_("Undeliverable"), "bad", "problem"),
    ("people", "complained"): Word(_("Marked as spam"), "bad", "warning"),
    ("subscriber", "bounced"): Word(pgettext("one", "Undeliverable"), "bad", "problem"),
    ("import", "ready"): Word(_("Ready to import"), "news", "eye"),
    ("import", "failed"): Word(_("Could not be read"), "bad", "problem"),
}


def state_word(state: str, subject: str = "") -> Word:
    """Return the label for a status; ``subject`` distinguishes statuses with two meanings."""
    return _ELSEWHERE.get((subject, str(state))) or _WORDS.get(str(state)) or Word(str(state), "calm", "info")


def plain(template: str, moment: datetime | None = None) -> str:
    """Return a subject as plain text, for the day of ``moment`` (or today) in the user's time zone."""
    request = get_current_request()
    day = (moment or utcnow()).astimezone(request.timezone).date()
    return plain_line(template, day, request.locale_name)


def subject_of(campaign: Campaign) -> str:
    """Return a campaign's subject as plain text, for the day of its start."""
    return plain(campaign.subject, campaign.started_at or campaign.send_at)
