"""Opens, clicks and unsubscribes, identified by the token in the email."""

from .campaign_counters import Numbers, campaign_numbers
from .clicks import record_click
from .open_buffer import OpenBuffer
from .opens import Opening, record_opens
from .sent_emails import email_for, find, link_target, urls_for
from .unsubscribing import UnsubscribePage, recipient_page, resubscribe_by_token, unsubscribe_by_token
from .user_agents import is_fetched_ahead

__all__ = [
    "Numbers",
    "OpenBuffer",
    "Opening",
    "UnsubscribePage",
    "campaign_numbers",
    "email_for",
    "find",
    "is_fetched_ahead",
    "link_target",
    "recipient_page",
    "record_click",
    "record_opens",
    "resubscribe_by_token",
    "unsubscribe_by_token",
    "urls_for",
]
