"""What comes back: opens, clicks and unsubscribes, each told by the token in its letter."""

from .agents import is_fetched_ahead
from .buffer import OpenBuffer
from .leaving import Reader, describe, reader_of, resubscribe_by_token, unsubscribe_by_token
from .letters import Found, find, letter_for, link_target, urls_for
from .opens import Opening, record_opens
from .proof import prove_seen, prove_sent
from .reading import record_click
from .tally import Numbers, campaign_numbers

__all__ = [
    "Found",
    "Numbers",
    "OpenBuffer",
    "Opening",
    "Reader",
    "campaign_numbers",
    "describe",
    "find",
    "is_fetched_ahead",
    "letter_for",
    "link_target",
    "prove_seen",
    "prove_sent",
    "reader_of",
    "record_click",
    "record_opens",
    "resubscribe_by_token",
    "unsubscribe_by_token",
    "urls_for",
]
