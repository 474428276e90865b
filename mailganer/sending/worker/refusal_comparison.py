"""The scope of a refusal, found by comparison.

The text of a reply is only a hint. A reply that one recipient gets while others are accepted is about that
recipient; a reply that several recipients in a row get, with none accepted in between, is about the account,
the server or the email, whatever its text. Recipients of one domain count as one: before their refusals are
attributed, recipients of other domains are tried, if any wait. "No such mailbox" is about the address unless
recipients from anywhere in the lists get it: then the user decides.
"""

from datetime import timedelta

from ...backends import Outcome, Receipt
from ...ledger import Recipient
from .lone_refusals import judge_lone
from .rate_limits import judge_rate_limits
from .receipt_outcomes import defer
from .refusal_pattern import (
    BROKEN_LATELY,
    BROKEN_SHARE,
    BROKEN_WITHIN,
    EMAIL_ITSELF,
    OF_A_DOMAIN,
    is_about_email,
    is_compared,
    is_unknown,
    may_be_about_account,
    refusals_needed,
    seems_about_account,
)
from .refused_window import RECENTLY, RefusedWindow
from .unknown_mailboxes import judge_unknown, note_unknown
from .window_queue import Answer, RenderingFailed

MINUTE = timedelta(minutes=1)  # in which accepted emails are counted


def compare_refusals(window: RefusedWindow) -> None:
    """Compare the replies to a window with each other and with earlier ones; correct the window's result."""
    accepted = [slot for slot, answer in enumerate(window.answers) if _is_accepted(answer)]
    # Recipients refused before one was accepted stay refused: the reply was about them, or their domain.
    tail = accepted[-1] + 1 if accepted else 0
    if accepted:
        _add_compared(window, tail)
        window.pattern.clear({window.domain(slot) for slot in accepted}, window.timestamp())
    alone: list[tuple[int, Receipt]] = []
    unknown: Receipt | None = None
    for slot, answer in enumerate(window.answers):
        if isinstance(answer, RenderingFailed) or answer is None:
            continue
        if answer.outcome is Outcome.deferred and seems_about_account(answer) and answer.sure:
            _note_trouble(window, slot, answer)
        elif answer.outcome is Outcome.in_doubt and answer.reply[:1] in ("4", "5"):
            window.result.trouble = answer  # a server that replies so is left alone for a while
        elif answer.outcome is Outcome.in_doubt:
            window.result.connection_broke = True
        elif answer.outcome in (Outcome.unauthorised, Outcome.exhausted) and answer.sure:
            _note_stop(window, slot, answer)
        elif slot >= tail and is_unknown(answer):
            unknown = note_unknown(window, slot, answer) or unknown
        elif slot >= tail and is_compared(answer) and not window.is_about_domain(slot, answer):
            _note_refusal(window, slot, answer)
            if seems_about_account(answer) or may_be_about_account(answer):
                alone.append((slot, answer))
        if slot >= tail and window.pattern.tries_other_domains:
            window.pattern.domains.setdefault(window.items[slot].id, window.domain(slot))
    if window.result.connection_broke:
        _note_broken_connection(window)
    judge_lone(window, alone)
    judge_rate_limits(window)
    if unknown is not None:
        judge_unknown(window, unknown)


def _note_broken_connection(window: RefusedWindow) -> None:
    """Count a connection that broke with emails in doubt: in a row, and among what was sent lately."""
    if not window.result.accepted:
        window.pattern.broken_in_a_row += 1
        window.result.broken_in_a_row = window.pattern.broken_in_a_row
    lately = window.pattern.note_broken_connection(window.timestamp())
    if lately >= BROKEN_LATELY:
        sent = window.others.sender_emails_since(window.now - timedelta(seconds=BROKEN_WITHIN))
        if lately * BROKEN_SHARE > sent + window.result.accepted:
            window.result.broken_lately = lately


def _add_compared(window: RefusedWindow, tail: int) -> None:
    """Add the refusals before slot ``tail``, as evidence about their domains."""
    for slot, answer in enumerate(window.answers[:tail]):
        if not isinstance(answer, Receipt):
            continue
        if is_compared(answer) or (answer.outcome is Outcome.deferred and seems_about_account(answer)):
            window.add(slot, answer)


def _note_refusal(window: RefusedWindow, slot: int, receipt: Receipt) -> None:
    """Add a refusal to the pattern; attribute its kind when enough recipients got it."""
    item, kind = window.items[slot], window.kind(slot, receipt)
    window.pattern.last_campaign = window.campaign_id
    if kind in window.pattern.not_about_recipients:
        if not _is_settled(window, item) and not _ask_after_a_day(window, slot, receipt):
            window.add(slot, receipt)
            window.attribute(kind, receipt)
    elif item.attempts and item.first_tried_at and window.others.sender_accepted_since(item.first_tried_at):
        return  # it was about this recipient before, too
    elif item.returned_at is None:  # a second refusal counts as one of this recipient
        needed = refusals_needed(receipt, item.address)
        if window.add(slot, receipt) >= needed:
            _conclude(window, kind, receipt, needed)


def _conclude(window: RefusedWindow, kind: str, receipt: Receipt, needed: int) -> None:
    """Attribute a kind of reply that enough recipients got, unless it may be about their domain."""
    if window.needs_other_domains(kind, needed):
        window.pattern.tries_other_domains = True
    elif receipt.outcome is not Outcome.refused and (domain := window.others_were_accepted_before(kind)):
        window.pattern.note_domain(domain, kind, window.timestamp())
        window.pattern.remove(kind)
    elif _is_email_to_blame(window, receipt, kind):
        window.attribute(kind, receipt)


def _is_settled(window: RefusedWindow, item: Recipient) -> bool:
    """Return whether others were accepted since this recipient was given back, or the user has decided."""
    if item.returned_at is None:
        return False
    if window.campaign_id in window.pattern.decided:
        return True
    return window.others.sender_accepted_since(item.returned_at + MINUTE)


def _ask_after_a_day(window: RefusedWindow, slot: int, receipt: Receipt) -> bool:
    """Ask the user if all remaining recipients have been refused for a day."""
    item = window.items[slot]
    if item.returned_at is None or window.now - item.returned_at < RECENTLY:
        return False
    if is_about_email(receipt) or window.others.untried_wait():  # a refused email asks the user anyway
        return False
    window.give_back([item.id], None)
    window.pattern.decided.append(window.campaign_id)
    window.result.refused_for_a_day = receipt
    return True


def _is_email_to_blame(window: RefusedWindow, receipt: Receipt, kind: str) -> bool:
    """Return whether a refused email pauses its campaign: after ten in a row, or fewer if that is all."""
    if not is_about_email(receipt) or window.pattern.count(kind) >= EMAIL_ITSELF:
        return True
    if window.result.accepted or None in window.answers:
        return False
    return not (window.others.accepted_before() or window.others.others_wait())


def _note_stop(window: RefusedWindow, slot: int, receipt: Receipt) -> None:
    """Begin with another recipient when the sender may continue."""
    kind = window.kind(slot, receipt)
    window.pattern.last_campaign = window.campaign_id
    if kind not in window.pattern.not_about_recipients:
        window.pattern.not_about_recipients.append(kind)
    window.put_behind(slot)


def _note_trouble(window: RefusedWindow, slot: int, receipt: Receipt) -> None:
    """Rest the sender; defer only the recipient if the error comes again while others were accepted."""
    item, kind = window.items[slot], window.kind(slot, receipt)
    if (
        item.id in window.pattern.outvoted
        or _others_were_accepted(window, item)
        or window.is_about_domain(slot, receipt)
    ):
        window.result.changes[slot] = defer(item, receipt, window.now)
        return
    if window.add(slot, receipt) >= OF_A_DOMAIN and (domain := window.others_were_accepted_before(kind)):
        window.pattern.note_domain(domain, kind, window.timestamp())
        window.pattern.remove(kind)
        window.result.changes[slot] = defer(item, receipt, window.now)
        return
    window.result.trouble = receipt
    window.put_behind(slot)
    # Without another recipient, it may be about this one.
    alone = not receipt.retry_after and not window.result.accepted and window.is_last()
    window.pattern.attribute([item.id], alone=alone)


def _others_were_accepted(window: RefusedWindow, item: Recipient) -> bool:
    """Return whether others of the campaign were accepted since this recipient was first tried."""
    return item.first_tried_at is not None and window.others.accepted_since(item.first_tried_at)


def _is_accepted(answer: Answer | None) -> bool:
    return isinstance(answer, Receipt) and answer.outcome is Outcome.accepted
