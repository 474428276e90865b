"""Refusals without other recipients to compare with: two of them decide, a single one asks the user."""

from collections.abc import Sequence

from ...backends import Outcome, Receipt
from ...models import DeliveryStatus
from .refusal_pattern import FROM_ACCOUNT, is_rate_limit, may_be_about_account, seems_about_account
from .refused_window import RECENTLY, RefusedWindow


def judge_lone(window: RefusedWindow, refusals: Sequence[tuple[int, Receipt]]) -> None:
    """Judge the refusals, by slot, of a window in which all other recipients were refused or none remain.

    A server that defers a single recipient still rests the sender, until another recipient is due; a rate for
    a single recipient does not.
    """
    left = [(slot, each) for slot, each in refusals if window.items[slot].id not in window.result.returned]
    if not left or window.result.accepted or None in window.answers or window.others.others_wait():
        return
    compared = window.has_comparison()
    if not compared:
        for slot, receipt in left:
            if _is_about_account(window, slot, receipt):
                window.add(slot, receipt)
    for slot, receipt in left:
        if compared:
            _ask_if_failed(window, slot, receipt)
        else:
            _judge(window, slot, receipt)


def _judge(window: RefusedWindow, slot: int, receipt: Receipt) -> None:
    kind = window.kind(slot, receipt)
    number = window.pattern.count(kind)
    if seems_about_account(receipt):
        if not _is_about_account(window, slot, receipt):
            return
        if number < FROM_ACCOUNT and is_rate_limit(receipt):
            return
        if number < FROM_ACCOUNT and _stops_for_long(receipt):
            _ask_user(window, slot, receipt)
        else:
            window.attribute(kind, receipt)
    elif number >= FROM_ACCOUNT:
        window.attribute(kind, receipt)
    else:
        _ask_if_failed(window, slot, receipt)


def _ask_if_failed(window: RefusedWindow, slot: int, receipt: Receipt) -> None:
    failed = window.result.changes[slot].status is DeliveryStatus.failed
    if may_be_about_account(receipt) and failed:
        _ask_user(window, slot, receipt)


def _ask_user(window: RefusedWindow, slot: int, receipt: Receipt) -> None:
    """Let the user decide about a refused recipient, once, unless others were accepted recently."""
    item = window.items[slot]
    since = (item.first_tried_at or window.now) - RECENTLY
    if item.returned_at is None and not window.others.accepted_since(since):
        window.keep_pending(slot)
        window.result.refused_alone = receipt


def _is_about_account(window: RefusedWindow, slot: int, receipt: Receipt) -> bool:
    """Return whether a reply seems so, and no recipient was accepted since this one was first tried."""
    since = window.items[slot].first_tried_at
    return seems_about_account(receipt) and not (since and window.others.sender_accepted_since(since))


def _stops_for_long(receipt: Receipt) -> bool:
    """Return whether the reply, if about the account, stops the sender or rests it for an hour or more."""
    return receipt.outcome in (Outcome.unauthorised, Outcome.exhausted)
