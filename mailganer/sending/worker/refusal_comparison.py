"""The scope of a refusal, found by comparison.

The text of a reply is only a hint. A reply that one recipient gets while others are accepted is about that
recipient; a reply that several recipients in a row get, with none accepted in between, is about the account,
the server or the email, whatever its text. "No such mailbox" is about the address unless all recipients get
it, at every domain: then the user decides.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from ...backends import Outcome, Receipt
from ...ledger import DeliveryChange, Recipient
from ...models import LARGEST_CAMPAIGN, DeliveryStatus
from .other_recipients import OtherRecipients
from .receipt_outcomes import WindowResult, defer
from .refusal_pattern import (
    EMAIL_ITSELF,
    FROM_ACCOUNT,
    SAME_WORDS,
    UNKNOWN,
    UNKNOWN_ANYWHERE,
    UNKNOWN_KIND,
    RefusalPattern,
    is_about_email,
    is_compared,
    is_unknown,
    may_be_about_account,
    refusal_kind,
    refusals_needed,
    seems_about_account,
)
from .window_queue import Answer, RenderingFailed

BEHIND = timedelta(seconds=20)
"""How long a recipient whose answer was not about them lets the others go first. Longer than a sender's first
rest."""
MINUTE = timedelta(minutes=1)  # in which what was accepted is counted
LOOK_AGAIN = timedelta(minutes=5)
"""After which the few recipients of a campaign are tried once more, none of whom has a mailbox."""
RECENTLY = timedelta(days=1)
"""An email accepted so long before the first try, or later, shows that the last refusal is not about us."""


class RefusalComparison:
    """The answers to one window, compared with each other and with those before."""

    def __init__(
        self,
        items: Sequence[Recipient],
        answers: Sequence[Answer | None],
        window_result: WindowResult,
        pattern: RefusalPattern,
        others: OtherRecipients,
        *,
        campaign_id: int,
        now: datetime,
    ) -> None:
        self._items, self._answers, self._window_result = items, answers, window_result
        self._pattern, self._others = pattern, others
        self._campaign_id, self._now = campaign_id, now
        self._slots = {item.id: slot for slot, item in enumerate(items)}

    def run(self) -> None:
        """Apply the result of the comparison to the window result."""
        accepted = [slot for slot, answer in enumerate(self._answers) if _is_accepted(answer)]
        if accepted:
            self._pattern.clear()
        # Recipients refused before one was accepted stay refused: the reply was about them.
        tail = accepted[-1] + 1 if accepted else 0
        alone: list[tuple[int, Receipt]] = []
        unknown: Receipt | None = None
        for slot, answer in enumerate(self._answers):
            if isinstance(answer, RenderingFailed) or answer is None:
                continue
            if answer.outcome is Outcome.deferred and seems_about_account(answer) and answer.sure:
                self._note_trouble(slot, answer)
            elif answer.outcome is Outcome.in_doubt and answer.reply[:1] in ("4", "5"):
                self._window_result.trouble = answer  # a server that says so is left alone for a while
            elif answer.outcome in (Outcome.unauthorised, Outcome.exhausted) and answer.sure:
                self._note_stop(slot, answer)
            elif slot >= tail and is_unknown(answer):
                unknown = self._note_unknown(slot, answer) or unknown
            elif slot >= tail and is_compared(answer):
                self._note(slot, answer)
                if seems_about_account(answer) or may_be_about_account(answer):
                    alone.append((slot, answer))
        self._judge_lone(alone)
        if unknown is not None:
            self._judge_unknown(unknown)

    def _note(self, slot: int, receipt: Receipt) -> None:
        item = self._items[slot]
        kind = refusal_kind(receipt, item.address, self._campaign_id)
        self._pattern.last_campaign = self._campaign_id
        if kind in self._pattern.not_about_recipients:
            if not self._is_settled(item) and not self._ask_after_a_day(slot, receipt):
                self._pattern.add(item.id, kind)
                self._hold(kind, receipt)
        elif item.returned_at is None:  # the second time it stays with the recipient
            limit = refusals_needed(receipt, item.address)
            if self._pattern.add(item.id, kind) >= limit and self._is_email_to_blame(receipt, kind):
                self._hold(kind, receipt)

    def _is_settled(self, item: Recipient) -> bool:
        """Whether others were accepted since this recipient was given back, or a person has decided."""
        if item.returned_at is None:
            return False
        if self._campaign_id in self._pattern.decided:
            return True
        return self._others.sender_accepted_since(item.returned_at + MINUTE)

    def _ask_after_a_day(self, slot: int, receipt: Receipt) -> bool:
        """Ask the user if all remaining recipients have been refused for a day."""
        returned_at = self._items[slot].returned_at
        if returned_at is None or self._now - returned_at < RECENTLY:
            return False
        if is_about_email(receipt) or self._others.untried_wait():  # an email's refusal asks anyway
            return False
        self._return([self._items[slot].id], None)
        self._pattern.decided.append(self._campaign_id)
        self._window_result.refused_for_a_day = receipt
        return True

    def _is_email_to_blame(self, receipt: Receipt, kind: str) -> bool:
        """Whether a refused email stops its campaign: after ten in a row, or fewer that were all there is."""
        if not is_about_email(receipt) or self._pattern.count(kind) >= EMAIL_ITSELF:
            return True
        if self._window_result.accepted or None in self._answers:
            return False
        return not (self._others.accepted_before() or self._others.others_wait())

    def _hold(self, kind: str, receipt: Receipt) -> None:
        """Treat this reply as one about us: it fails no recipient, and the sender rests or stops."""
        behind = None if is_about_email(receipt) else self._now + BEHIND
        self._return(self._pattern.mark_not_about_recipients(kind), behind)
        self._stop(receipt)

    def _return(self, ids: Iterable[int], behind: datetime | None) -> None:
        """Put recipients back whom an answer would have used up, or has."""
        for delivery_id in ids:
            slot = self._slots.get(delivery_id)
            if slot is None:
                self._window_result.give_back.append(delivery_id)
                continue
            item = self._items[slot]
            reply = self._window_result.changes[slot].reply
            self._window_result.changes[slot] = DeliveryChange(
                item.id, DeliveryStatus.pending, None, reply, False, behind
            )
            self._window_result.returned.append(item.id)
            if item.subscriber_id:
                self._window_result.dead.pop(item.subscriber_id, None)
        self._window_result.behind = behind

    def _stop(self, receipt: Receipt) -> None:
        window_result = self._window_result
        if receipt.outcome is Outcome.unauthorised:
            window_result.unauthorised = receipt
        elif receipt.outcome is Outcome.exhausted:
            window_result.exhausted = receipt
        elif seems_about_account(receipt):
            window_result.trouble = receipt
        elif is_about_email(receipt):
            window_result.refused_email = receipt
        else:
            window_result.everybody = receipt

    def _note_stop(self, slot: int, receipt: Receipt) -> None:
        """Begin with another recipient when the sender may continue."""
        kind = refusal_kind(receipt, self._items[slot].address, self._campaign_id)
        self._pattern.last_campaign = self._campaign_id
        if kind not in self._pattern.not_about_recipients:
            self._pattern.not_about_recipients.append(kind)
        window_result = self._window_result
        window_result.changes[slot] = window_result.changes[slot]._replace(not_before=self._now + BEHIND)

    def _note_unknown(self, slot: int, receipt: Receipt) -> Receipt | None:
        """Count a recipient without a mailbox, unless a person or a second try has settled that."""
        item = self._items[slot]
        if item.returned_at is not None or self._campaign_id in self._pattern.decided:
            return None
        self._pattern.last_campaign = self._campaign_id
        self._pattern.add(item.id, UNKNOWN_KIND)
        return receipt

    def _judge_unknown(self, receipt: Receipt) -> None:
        """Ask the user about many recipients without a mailbox, because the server may be wrong.

        A few, when they are all there is, are tried once more a little later.
        """
        number = self._pattern.count(UNKNOWN_KIND)
        if number >= UNKNOWN_ANYWHERE:
            self._ask_about_unknown(receipt)
        elif number < SAME_WORDS or self._is_compared():
            return
        elif number >= UNKNOWN:
            self._ask_about_unknown(receipt)
        elif _is_unnamed(receipt, [item.address for item in self._items]):
            self._return(self._pattern.remove(UNKNOWN_KIND), self._now + LOOK_AGAIN)

    def _is_compared(self) -> bool:
        """Return whether others of the campaign were accepted or remain for comparison."""
        if None in self._answers or self._others.accepted_before():
            return True
        return self._others.untried_wait()

    def _ask_about_unknown(self, receipt: Receipt) -> None:
        ids = self._pattern.remove(UNKNOWN_KIND)
        campaigns = {each // LARGEST_CAMPAIGN for each in ids}
        self._pattern.decided += sorted(campaigns - set(self._pattern.decided))
        self._return(ids, None)
        self._window_result.unknown, self._window_result.doubted = receipt, ids

    def _note_trouble(self, slot: int, receipt: Receipt) -> None:
        """Defer the recipient; put only them off if the error comes again while others were accepted."""
        item, window_result = self._items[slot], self._window_result
        if item.first_tried_at is not None and self._others.accepted_since(item.first_tried_at):
            window_result.changes[slot] = defer(item, receipt, self._now)
            return
        window_result.trouble = receipt
        window_result.changes[slot] = window_result.changes[slot]._replace(not_before=self._now + BEHIND)

    def _judge_lone(self, alone: Iterable[tuple[int, Receipt]]) -> None:
        """Judge refusals without others to compare with: two recipients decide, a single one asks the user.

        A server that puts off a single recipient still rests the sender, for a short time.
        """
        left = [
            (slot, each) for slot, each in alone if self._items[slot].id not in self._window_result.returned
        ]
        if not left or self._window_result.accepted or None in self._answers or self._others.others_wait():
            return
        compared = self._is_compared()
        for slot, receipt in left:
            if not compared and self._seems_about_account(slot, receipt):
                self._pattern.add(self._items[slot].id, self._kind(slot, receipt))
        for slot, receipt in left:
            kind = self._kind(slot, receipt)
            if not compared and seems_about_account(receipt):
                if not self._seems_about_account(slot, receipt):
                    continue
                if _stops_for_long(receipt) and self._pattern.count_stopping() < FROM_ACCOUNT:
                    self._ask(slot, receipt)
                else:
                    self._hold(kind, receipt)
            elif not compared and self._pattern.count(kind) >= FROM_ACCOUNT:
                self._hold(kind, receipt)
            elif may_be_about_account(receipt) and self._has_failed(slot):
                self._ask(slot, receipt)

    def _kind(self, slot: int, receipt: Receipt) -> str:
        return refusal_kind(receipt, self._items[slot].address, self._campaign_id)

    def _seems_about_account(self, slot: int, receipt: Receipt) -> bool:
        """Whether the words are, and no other recipient was accepted since this one was first tried."""
        since = self._items[slot].first_tried_at
        return seems_about_account(receipt) and not (since and self._others.sender_accepted_since(since))

    def _has_failed(self, slot: int) -> bool:
        return self._window_result.changes[slot].status is DeliveryStatus.failed

    def _ask(self, slot: int, receipt: Receipt) -> None:
        """Let a person decide about a refused recipient, once, unless others were accepted lately."""
        item, window_result = self._items[slot], self._window_result
        lately = (item.first_tried_at or self._now) - RECENTLY
        if item.returned_at is not None or self._others.accepted_since(lately):
            return
        reply = window_result.changes[slot].reply
        window_result.changes[slot] = DeliveryChange(item.id, DeliveryStatus.pending, None, reply)
        window_result.returned.append(item.id)
        if item.subscriber_id:
            window_result.dead.pop(item.subscriber_id, None)
        window_result.refused_alone = receipt


def _is_accepted(answer: Answer | None) -> bool:
    return isinstance(answer, Receipt) and answer.outcome is Outcome.accepted


def _stops_for_long(receipt: Receipt) -> bool:
    """Whether the answer, if it is about the account, stops the sender or rests it for an hour or more."""
    return receipt.outcome in (Outcome.unauthorised, Outcome.exhausted)


def _is_unnamed(receipt: Receipt, addresses: Iterable[str]) -> bool:
    """Whether the answer names none of these addresses."""
    reply = receipt.reply.lower()
    return not any(each.lower() in reply for each in addresses)
