"""From replies to changes of the ledger: what each receipt means for its recipient and for the others.

The scope of a refusal decides: a refusal of the recipient fails that recipient, one of the account or the
connection fails no recipient (all stay pending), one of the email stops the campaign when it is repeated.
The scope found here for one reply is a first guess, which :mod:`.refusal_comparison` may change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from re import compile as pattern
from typing import Any

from sqlalchemy import Row

from ...backends import Outcome, Receipt, Scope, clean
from ...ledger import DeliveryChange, Recipient
from ...models import DeliveryStatus, Reason
from .backoff import GIVE_UP_AFTER, GIVE_UP_ON_LIMIT_AFTER, LOOK_UP_AFTER, next_attempt
from .window_queue import Answer, RenderingFailed

MOST_NOT_RENDERED = 20  # consecutive emails that cannot be rendered, until the campaign is paused

_DEAD_ADDRESS = pattern(r"\b5\.1\.(1|2|3|6|10)\b")
"""RFC 3463, section 3.2: no such mailbox, host or address; moved without saying where; null MX (RFC 7505)."""


@dataclass
class RefusalStreaks:
    """Consecutive failures of one campaign in one lane."""

    not_rendered: int = 0

    def copy(self) -> "RefusalStreaks":
        """Return a copy, so that a settlement that fails changes nothing."""
        return replace(self)

    def note(self, answer: Answer) -> None:
        """Count one more answer."""
        if isinstance(answer, RenderingFailed):
            self.not_rendered += not answer.about_address
        else:
            self.not_rendered = 0


@dataclass
class WindowResult:
    """Result of a window: changes of its deliveries, and consequences for its sender and campaign."""

    changes: list[DeliveryChange] = field(default_factory=list)
    quota_used: int = 0  # emails that count against the quota
    accepted: int = 0
    dead: dict[int, str] = field(default_factory=dict)  # subscribers without a mailbox -> the server's reply
    # Replies that stop or rest the sender:
    unauthorised: Receipt | None = None
    exhausted: Receipt | None = None
    trouble: Receipt | None = None  # of the connection or the account
    connection_broke: bool = False  # with emails in doubt
    broken_in_a_row: int = 0  # such connections in a row, with this one, and no email accepted in between
    broken_lately: int = 0  # such connections lately, if they are too many for the emails that were sent
    is_of_one_recipient: bool = False  # only one recipient got such a reply, and there is no other to try
    refused_in_a_row: Receipt | None = None  # consecutive recipients got it, and it is about none of them
    # Replies that pause the campaign, so that the user decides:
    refused_email: Receipt | None = None  # the email is refused for every recipient
    only_domain: str | None = None  # the domain of all of them, if it is the same
    refused_alone: Receipt | None = None  # to the only recipient, and possibly about the sender
    refused_for_a_day: Receipt | None = None  # to all remaining recipients
    unknown_mailboxes: Receipt | None = None  # "no such mailbox", to recipients from anywhere in the lists
    doubted: list[int] = field(default_factory=list)  # deliveries that got this reply
    # Deliveries that become pending again, because their refusal was not about them:
    returned: list[int] = field(default_factory=list)  # of this window
    give_back: list[int] = field(default_factory=list)  # of earlier windows
    not_before: datetime | None = None  # when those of earlier windows are tried again
    late: bool = False  # another process settled it, or the restored database has no record of it
    streaks: RefusalStreaks = field(default_factory=RefusalStreaks)  # of its campaign, with this window

    @property
    def ends_turn(self) -> bool:
        """Whether the sender has to stop, or the lane has lost its window."""
        stops = self.refused_in_a_row or self.exhausted or self.unauthorised
        breaks = self.broken_in_a_row > 1 or self.broken_lately
        return bool(self.trouble or breaks or stops or self.late)


def changes_for_window(
    items: Sequence[Recipient], answers: Sequence[Answer | None], now: datetime
) -> WindowResult:
    """The changes that a window's answers make. An item without an answer was not touched."""
    window_result = WindowResult()
    for item, answer in zip(items, answers, strict=True):
        window_result.changes.append(_change(item, answer, now, window_result))
    return window_result


def _change(
    item: Recipient, answer: Answer | None, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    if answer is None:
        return DeliveryChange(item.id, DeliveryStatus.pending)
    if isinstance(answer, RenderingFailed):
        if answer.about_address:  # the reason is enough, and it is shown in the user's language
            return DeliveryChange(item.id, DeliveryStatus.skipped, Reason.address, None)
        return DeliveryChange(
            item.id, DeliveryStatus.skipped, Reason.render_error, clean(answer.error.message)
        )
    return change_for(item, answer, now, window_result)


def change_for(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    """Return what a receipt means for its recipient; note in ``window_result`` what it means for others."""
    return _OF_OUTCOME[receipt.outcome](item, receipt, now, window_result)


def _accepted(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    window_result.quota_used += 1
    window_result.accepted += 1
    return DeliveryChange(item.id, DeliveryStatus.sent, None, clean(receipt.reply), tried=True)


def _refused(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    if item.subscriber_id and receipt.scope is Scope.recipient and _DEAD_ADDRESS.search(receipt.reply[:80]):
        window_result.dead[item.subscriber_id] = clean(receipt.reply)
    return DeliveryChange(item.id, DeliveryStatus.failed, Reason.refused, clean(receipt.reply), tried=True)


def _deferred(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    if receipt.scope in (Scope.connection, Scope.account) and receipt.sure:
        return DeliveryChange(item.id, DeliveryStatus.pending, None, clean(receipt.reply))
    return defer(item, receipt, now)


def defer(item: Recipient | Row[Any], receipt: Receipt, now: datetime) -> DeliveryChange:
    """Try this recipient again later, behind the others, or give up after a day."""
    give_up_after = GIVE_UP_ON_LIMIT_AFTER if receipt.outcome is Outcome.exhausted else GIVE_UP_AFTER
    first = item.first_tried_at or now
    due_at = next_attempt(item.attempts + 1, first, now, receipt.retry_after, give_up_after)
    if isinstance(due_at, Reason):
        return DeliveryChange(
            item.id, DeliveryStatus.failed, Reason.expired, clean(receipt.reply), tried=True
        )
    return DeliveryChange(
        item.id, DeliveryStatus.pending, None, clean(receipt.reply), tried=True, not_before=due_at
    )


def _exhausted(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    if not receipt.sure:
        return defer(item, receipt, now)
    window_result.exhausted = receipt
    return DeliveryChange(item.id, DeliveryStatus.pending, None, clean(receipt.reply))


def _unauthorised(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    if not receipt.sure:
        return defer(item, receipt, now)
    window_result.unauthorised = receipt
    return DeliveryChange(item.id, DeliveryStatus.pending, None, clean(receipt.reply))


def _in_doubt(
    item: Recipient | Row[Any], receipt: Receipt, now: datetime, window_result: WindowResult
) -> DeliveryChange:
    window_result.quota_used += 1
    return mark_in_doubt(item.id, Reason.disconnected, now, receipt.reply)


def mark_in_doubt(delivery_id: int, reason: Reason, now: datetime, reply: str = "") -> DeliveryChange:
    """In doubt from now on; ``not_before`` is when the backend is asked whether it had the email."""
    return DeliveryChange(
        delivery_id, DeliveryStatus.in_doubt, reason, clean(reply) or None, True, now + LOOK_UP_AFTER
    )


_OF_OUTCOME = {
    Outcome.accepted: _accepted,
    Outcome.refused: _refused,
    Outcome.deferred: _deferred,
    Outcome.exhausted: _exhausted,
    Outcome.unauthorised: _unauthorised,
    Outcome.in_doubt: _in_doubt,
}
