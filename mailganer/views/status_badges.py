"""Words, tone and icon of the status badges on pages."""

from dataclasses import dataclass

from mailganer.errors import _
from mailganer.i18n.sentences import pgettext

from ..models import CampaignStatus


@dataclass(frozen=True)
class Badge:
    """A status as pages show it: never a color alone."""

    text: str
    tone: str  # good, wait, bad, news, calm
    icon: str


_BADGES = {
    # campaigns
    "draft": Badge(_("Draft"), "calm", "draft"),
    "scheduled": Badge(_("Scheduled"), "news", "calendar"),
    "sending": Badge(_("Sending"), "news", "campaigns"),
    "paused": Badge(_("Paused"), "wait", "pause"),
    "finished": Badge(_("Finished"), "good", "done"),
    "cancelled": Badge(_("Cancelled"), "calm", "stop"),
    # deliveries
    "pending": Badge(_("Waiting"), "calm", "clock"),
    "sent": Badge(_("Sent"), "good", "check"),
    "failed": Badge(_("Not sent"), "bad", "problem"),
    "in_doubt": Badge(_("In doubt"), "wait", "question"),
    "skipped": Badge(_("Skipped"), "calm", "skip"),
    "bounced": Badge(_("Bounced"), "bad", "undo"),
    # subscribers
    "active": Badge(pgettext("one", "Subscribed"), "good", "check"),
    "unconfirmed": Badge(pgettext("one", "Not confirmed"), "wait", "clock"),
    "unsubscribed": Badge(pgettext("one", "Unsubscribed"), "calm", "leave"),
    "complained": Badge(pgettext("one", "Marked as spam"), "bad", "warning"),
    # senders
    "ready": Badge(_("Ready"), "good", "done"),
    "sleeping": Badge(_("Waiting"), "wait", "sleep"),
    "failing": Badge(_("Needs attention"), "bad", "warning"),
    # imports
    "reading": Badge(_("Reading"), "news", "clock"),
    "applying": Badge(_("Importing"), "news", "upload"),
    "done": Badge(_("Done"), "good", "done"),
    "undone": Badge(_("Undone"), "calm", "undo"),
}

_ELSEWHERE = {
    ("campaign", "waiting"): Badge(_("Waiting"), "wait", "clock"),
    ("campaign", "stuck"): Badge(_("Needs attention"), "bad", "warning"),
    # plural, for filters
    ("campaigns", "draft"): Badge(_("Drafts"), "calm", "draft"),
    ("campaigns", "scheduled"): Badge(pgettext("several", "Scheduled"), "news", "calendar"),
    ("campaigns", "sending"): Badge(pgettext("several", "Sending"), "news", "campaigns"),
    ("campaigns", "paused"): Badge(pgettext("several", "Paused"), "wait", "pause"),
    ("campaigns", "finished"): Badge(pgettext("several", "Finished"), "good", "done"),
    ("campaigns", "cancelled"): Badge(pgettext("several", "Cancelled"), "calm", "stop"),
    ("people", "active"): Badge(_("Subscribed"), "good", "check"),
    ("people", "unconfirmed"): Badge(_("Not confirmed"), "wait", "clock"),
    ("people", "unsubscribed"): Badge(_("Unsubscribed"), "calm", "leave"),
    ("people", "bounced"): Badge(_("Undeliverable"), "bad", "problem"),
    ("people", "complained"): Badge(_("Marked as spam"), "bad", "warning"),
    ("subscriber", "bounced"): Badge(pgettext("one", "Undeliverable"), "bad", "problem"),
    ("import", "ready"): Badge(_("Ready to import"), "news", "eye"),
    ("import", "failed"): Badge(_("Could not be read"), "bad", "problem"),
}


def campaign_state(status: CampaignStatus, paused_reason: str | None, held: str = "") -> str:
    """Return the key of a campaign's badge: its status, unless it waits or needs a user's attention.

    ``held``: "waiting" or "stuck" if a campaign that is being sent can send nothing now.
    """
    if status is CampaignStatus.paused and paused_reason:
        return "stuck"
    return held if held and status is CampaignStatus.sending else status


def state_word(state: str, subject: str = "") -> Badge:
    """Return the badge of a status; ``subject`` distinguishes statuses with two meanings."""
    known = _ELSEWHERE.get((subject, str(state))) or _BADGES.get(str(state))
    return known or Badge(str(state), "calm", "info")
