"""Opens, clicks and unsubscribes, identified by the token in the email."""

from .browser_views import BrowserViews
from .campaign_counters import Numbers, campaign_numbers
from .clicks import Click, click_writer, record_click
from .group_writer import GroupWriter, Outcome, OutcomeUnknown
from .open_buffer import OpenBuffer
from .opens import Opening, record_opens
from .sent_emails import KnownEmail, email_for, find, link_target, look, read_known, recipient_link, urls_for
from .sent_versions import SentVersions
from .unsubscribing import (
    UnsubscribePage,
    UnsubscribeRequest,
    page_of,
    recipient_page,
    resubscribe_by_token,
    unsubscribe_by_token,
    unsubscribe_together,
)
from .user_agents import PURPOSES, is_fetched_ahead

__all__ = [
    "PURPOSES",
    "BrowserViews",
    "Click",
    "GroupWriter",
    "KnownEmail",
    "Numbers",
    "OpenBuffer",
    "Opening",
    "Outcome",
    "OutcomeUnknown",
    "SentVersions",
    "UnsubscribePage",
    "UnsubscribeRequest",
    "campaign_numbers",
    "click_writer",
    "email_for",
    "find",
    "is_fetched_ahead",
    "link_target",
    "look",
    "page_of",
    "read_known",
    "recipient_link",
    "recipient_page",
    "record_click",
    "record_opens",
    "resubscribe_by_token",
    "unsubscribe_by_token",
    "unsubscribe_together",
    "urls_for",
]
