"""Rate limits that a server reports for one recipient or another, while it accepts others in between.

Some servers refuse RCPT when emails come too fast. What several different recipients get is about the pace,
unless they are of one domain and others are accepted.
"""

from datetime import timedelta

from ...backends import Receipt
from ...models import DeliveryStatus
from .refusal_pattern import RATE_LIMITED, is_rate_limit
from .refused_window import BEHIND, RefusedWindow

RETRIED_SOON_FOR = timedelta(hours=1)  # since the first attempt; then each attempt counts, so that it expires


def judge_rate_limits(window: RefusedWindow) -> None:
    """Slow the sender down if a rate was exceeded for several recipients. One of them slows nobody down."""
    limited = [
        (slot, answer)
        for slot, answer in enumerate(window.answers)
        if isinstance(answer, Receipt) and is_rate_limit(answer) and not window.is_about_domain(slot, answer)
    ]
    number = 0
    for slot, _receipt in limited:
        item = window.items[slot]
        number = window.pattern.note_rate_limit(item.subscriber_id or item.id, int(window.now.timestamp()))
    if number < RATE_LIMITED:
        if window.result.trouble is not None:  # it slows down anyway
            window.pattern.rate_limited = []
        return
    window.pattern.rate_limited = []
    for slot, _receipt in limited:
        _retry_soon(window, slot)
    if window.result.trouble is None:
        window.result.trouble = limited[-1][1]


def _retry_soon(window: RefusedWindow, slot: int) -> None:
    """Defer a recipient only until the others have gone: the reply was not about them."""
    item, change = window.items[slot], window.result.changes[slot]
    first = item.first_tried_at or window.now
    if change.status is DeliveryStatus.pending and window.now - first < RETRIED_SOON_FOR:
        window.result.changes[slot] = change._replace(tried=False, not_before=window.now + BEHIND)
