"""Who a refusal is about, found by comparison.

A server's words are only a guess. What one recipient gets while others are accepted is about that recipient;
what several recipients in a row get, with nobody accepted in between, is about the account, the server or
the email, whatever the words say.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..backends import Outcome, Receipt
from ..models import DeliveryStatus
from .feed import Answer, Unprinted
from .ledger import Change, Recipient
from .refusal_pattern import (
    EMAIL_ITSELF,
    FROM_ACCOUNT,
    RefusalPattern,
    enough,
    is_about_email,
    is_compared,
    kind_of,
    may_be_about_account,
    sounds_like_account,
)
from .verdict import Verdict, put_off

BEHIND = timedelta(seconds=20)
"""How long a recipient whose answer was not about them lets the others go first. Longer than a sender's first
rest."""
RECENTLY = timedelta(days=1)
"""An email accepted so long before the first try, or later, shows that the last refusal is not about us."""


@dataclass(frozen=True)
class CampaignContext:
    """Other recipients of the campaign, read from the database only when one was refused."""

    others_wait: Callable[[], bool]  # whether anybody else of the campaign is due
    accepted_before: Callable[[], bool]  # whether the sender has sent this campaign's email to anybody
    accepted_since: Callable[[datetime], bool]  # and whether since then


class Comparison:
    """The answers to one window, compared with each other and with those before."""

    def __init__(
        self,
        items: Sequence[Recipient],
        answers: Sequence[Answer | None],
        verdict: Verdict,
        pattern: RefusalPattern,
        context: CampaignContext,
        *,
        campaign_id: int,
        now: datetime,
    ) -> None:
        self._items, self._answers, self._verdict = items, answers, verdict
        self._pattern, self._context = pattern, context
        self._campaign_id, self._now = campaign_id, now
        self._slots = {item.id: slot for slot, item in enumerate(items)}

    def run(self) -> None:
        """Apply the result of the comparison to the verdict."""
        accepted = [slot for slot, answer in enumerate(self._answers) if _is_accepted(answer)]
        if accepted:
            self._pattern.seen, self._pattern.held = [], []
        # Who was refused before somebody was accepted stays refused: it was about them.
        tail = accepted[-1] + 1 if accepted else 0
        alone: list[tuple[int, Receipt]] = []
        for slot, answer in enumerate(self._answers):
            if isinstance(answer, Unprinted) or answer is None:
                continue
            if answer.outcome is Outcome.deferred and sounds_like_account(answer) and answer.sure:
                self._note_trouble(slot, answer)
            elif answer.outcome is Outcome.in_doubt and answer.reply[:1] in ("4", "5"):
                self._verdict.trouble = answer  # a server that says so is left alone for a while
            elif slot >= tail and is_compared(answer):
                self._note(slot, answer)
                if sounds_like_account(answer) or may_be_about_account(answer):
                    alone.append((slot, answer))
        self._judge_lone(alone)

    def _note(self, slot: int, receipt: Receipt) -> None:
        item = self._items[slot]
        kind = kind_of(receipt, item.address, self._campaign_id)
        if kind in self._pattern.held:
            self._pattern.add(item.id, kind)
            self._hold(kind, receipt)
        elif item.returned_at is None:  # the second time it stays with the recipient
            limit = enough(receipt, item.address)
            if self._pattern.add(item.id, kind) >= limit and self._is_email_to_blame(receipt, kind):
                self._hold(kind, receipt)

    def _is_email_to_blame(self, receipt: Receipt, kind: str) -> bool:
        """Whether a refused email stops its campaign: after ten in a row, or fewer that were all there is."""
        if not is_about_email(receipt) or self._pattern.number(kind) >= EMAIL_ITSELF:
            return True
        if self._verdict.accepted or None in self._answers:
            return False
        return not (self._context.accepted_before() or self._context.others_wait())

    def _hold(self, kind: str, receipt: Receipt) -> None:
        """Take this answer for one about us: nobody is used up by it, and the sender rests or stops."""
        ids = self._pattern.hold(kind)
        behind = None if is_about_email(receipt) else self._now + BEHIND
        for delivery_id in ids:
            slot = self._slots.get(delivery_id)
            if slot is None:
                self._verdict.give_back.append(delivery_id)
                continue
            item = self._items[slot]
            reply = self._verdict.changes[slot].reply
            self._verdict.changes[slot] = Change(item.id, DeliveryStatus.pending, None, reply, False, behind)
            self._verdict.returned.append(item.id)
            if item.subscriber_id:
                self._verdict.dead.pop(item.subscriber_id, None)
        self._verdict.behind = behind
        self._stop(receipt)

    def _stop(self, receipt: Receipt) -> None:
        verdict = self._verdict
        if receipt.outcome is Outcome.unauthorised:
            verdict.unauthorised = receipt
        elif receipt.outcome is Outcome.exhausted:
            verdict.exhausted = receipt
        elif sounds_like_account(receipt):
            verdict.trouble = receipt
        elif is_about_email(receipt):
            verdict.refused_email = receipt
        else:
            verdict.everybody = receipt

    def _note_trouble(self, slot: int, receipt: Receipt) -> None:
        """Defer the recipient; put only them off if the error comes again while others were accepted."""
        item, verdict = self._items[slot], self._verdict
        if item.first_tried_at is not None and self._context.accepted_since(item.first_tried_at):
            verdict.changes[slot] = put_off(item, receipt, self._now)
            return
        verdict.trouble = receipt
        verdict.changes[slot] = verdict.changes[slot]._replace(not_before=self._now + BEHIND)

    def _judge_lone(self, alone: Iterable[tuple[int, Receipt]]) -> None:
        """Where there is nobody to compare with, what sounds like the account or the server is about them.

        So are words that only may be about us, when two recipients were all there was and both get them. One
        who gets them alone waits for a person's decision.
        """
        left = [(slot, each) for slot, each in alone if self._items[slot].id not in self._verdict.returned]
        if not left or self._verdict.accepted or None in self._answers or self._context.others_wait():
            return
        nobody_accepted = not self._context.accepted_before()
        for slot, receipt in left:
            kind = kind_of(receipt, self._items[slot].address, self._campaign_id)
            if nobody_accepted and sounds_like_account(receipt):
                self._pattern.add(self._items[slot].id, kind)
                self._hold(kind, receipt)
            elif nobody_accepted and self._pattern.number(kind) >= FROM_ACCOUNT:
                self._hold(kind, receipt)
            elif may_be_about_account(receipt) and self._has_failed(slot):
                self._ask(slot, receipt)

    def _has_failed(self, slot: int) -> bool:
        return self._verdict.changes[slot].status is DeliveryStatus.failed

    def _ask(self, slot: int, receipt: Receipt) -> None:
        """Let a person decide about a refused recipient, once, unless others were accepted lately."""
        item, verdict = self._items[slot], self._verdict
        lately = (item.first_tried_at or self._now) - RECENTLY
        if item.returned_at is not None or self._context.accepted_since(lately):
            return
        reply = verdict.changes[slot].reply
        verdict.changes[slot] = Change(item.id, DeliveryStatus.pending, None, reply)
        verdict.returned.append(item.id)
        if item.subscriber_id:
            verdict.dead.pop(item.subscriber_id, None)
        verdict.refused_alone = receipt


def _is_accepted(answer: Answer | None) -> bool:
    return isinstance(answer, Receipt) and answer.outcome is Outcome.accepted
