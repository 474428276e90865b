"""Replies that a mailbox does not exist: about the address, unless all recipients get them."""

from collections.abc import Iterable
from datetime import timedelta

from ...backends import Receipt
from ...models import LARGEST_CAMPAIGN
from .refusal_pattern import SAME_WORDS, UNKNOWN, UNKNOWN_ANYWHERE, UNKNOWN_KIND
from .refused_window import RefusedWindow

RETRY_FEW_AFTER = timedelta(minutes=5)
"""When a campaign has only a few recipients, and none of them has a mailbox, they are retried after this."""


def note_unknown(window: RefusedWindow, slot: int, receipt: Receipt) -> Receipt | None:
    """Count a recipient without a mailbox; return None when a user or a second attempt has settled that."""
    item = window.items[slot]
    if item.returned_at is not None or window.campaign_id in window.pattern.decided:
        return None
    window.pattern.last_campaign = window.campaign_id
    window.add(slot, receipt)
    return receipt


def judge_unknown(window: RefusedWindow, receipt: Receipt) -> None:
    """Ask the user about many recipients without a mailbox, because the server may be wrong.

    A few, when they are all there is, are tried once more a little later.
    """
    number = window.pattern.count(UNKNOWN_KIND)
    if number >= UNKNOWN_ANYWHERE:
        _ask_user(window, receipt)
    elif number < SAME_WORDS or window.has_comparison():
        return
    elif number >= UNKNOWN:
        _ask_user(window, receipt)
    elif _is_unnamed(receipt, [item.address for item in window.items]):
        window.give_back(window.pattern.remove(UNKNOWN_KIND), window.now + RETRY_FEW_AFTER)


def _ask_user(window: RefusedWindow, receipt: Receipt) -> None:
    ids = window.pattern.remove(UNKNOWN_KIND)
    campaigns = {each // LARGEST_CAMPAIGN for each in ids}
    window.pattern.decided += sorted(campaigns - set(window.pattern.decided))
    window.give_back(ids, None)
    window.result.unknown_mailboxes, window.result.doubted = receipt, ids


def _is_unnamed(receipt: Receipt, addresses: Iterable[str]) -> bool:
    """Return whether the reply names none of these addresses."""
    reply = receipt.reply.lower()
    return not any(each.lower() in reply for each in addresses)
