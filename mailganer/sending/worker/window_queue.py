"""Queue of one window's emails: connections take messages from it and return receipts to it.

Each connection works in a thread of its own, or the only one in the lane's thread. Before an email is handed
over the journal records it, and only then the lease is checked: a process that was stopped in between and
continues too late hands nothing over.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock

from ...backends import Message, Outcome, Receipt, Scope
from ...errors import EmailError
from ...ledger import OpenWindow
from ...monotonic import elapsed
from .delivery_renderer import DeliveryRenderer
from .journal import Journal
from .refusal_pattern import (
    EMAIL_ITSELF,
    RefusalPattern,
    is_about_email,
    is_compared,
    refusal_kind,
    refusals_needed,
)

LOOK_EVERY = 0.25  # seconds; in a slow window, how often a pause is checked for
LONGEST = 5.0  # seconds of a window, after which its rest is left for the next: other senders wait


@dataclass(frozen=True)
class RenderingFailed:
    """An email that could not be rendered for this recipient."""

    error: EmailError

    @property
    def about_address(self) -> bool:
        return self.error.field == "email"


Answer = Receipt | RenderingFailed
"""Result for one recipient of a window; None stands for not touched."""


class WindowQueue:
    """The emails of one window. Thread-safe."""

    def __init__(
        self,
        window: OpenWindow,
        *,
        renderer: DeliveryRenderer,
        sender: str,
        journal: Journal,
        list_names: Mapping[int, str],
        in_time: Callable[[], bool],
        halted: Callable[[], bool],
        wanted: Callable[[], bool],
        pace: float = 0.0,
    ) -> None:
        self.window = window
        self.answers: list[Answer | None] = [None] * len(window.items)
        self.error: Exception | None = None  # why a connection could not be opened, or ended
        self._renderer, self._sender, self._journal = renderer, sender, journal
        self._list_names = list_names
        self._in_time, self._halted, self._wanted = in_time, halted, wanted
        self._pace = pace  # seconds between two emails
        self._slots = {item.id: slot for slot, item in enumerate(window.items)}
        self._handed: set[int] = set()  # handed over and without a receipt yet
        self._next, self._stopped = 0, False
        self._lock = Lock()
        self._pattern = RefusalPattern()
        self.last_handed: float | None = None  # when, if a pace is to be kept
        self._begun: float | None = None  # when the first email was taken
        self._looked = elapsed()

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def exhausted(self) -> bool:
        """Return whether no email is left to take."""
        return self._stopped or self._next >= len(self.window.items)

    def stop(self, error: Exception | None = None) -> None:
        """Hand over no more emails from this window; those in flight still get their receipts."""
        self._stopped = True
        self.error = self.error or error

    def messages(self) -> Iterator[Message]:
        """Yield emails one by one, rendered on demand."""
        while (message := self._pull()) is not None:
            yield message

    def answer(self, receipt: Receipt) -> None:
        slot = self._slots[int(receipt.message_id)]
        self._journal.answered(slot, receipt)
        self.answers[slot] = receipt
        self._handed.discard(slot)
        if not receipt.goes_on or self._is_enough(slot, receipt):
            self.stop()

    def close(self) -> None:
        """Close the queue when no connection uses it any more: emails without a receipt are in doubt."""
        self.stop()
        for slot in sorted(self._handed):
            delivery = self.window.items[slot].id
            self.answer(Receipt(delivery, Outcome.in_doubt, scope=Scope.connection))

    def _is_enough(self, slot: int, receipt: Receipt) -> bool:
        """Return whether so many emails in a row were refused alike that no other should be tried now."""
        if receipt.outcome is Outcome.accepted:
            self._pattern.seen.clear()
            return False
        if not is_compared(receipt):
            return False
        item = self.window.items[slot]
        kind = refusal_kind(receipt, item.address, self.window.claim.campaign_id)
        limit = EMAIL_ITSELF if is_about_email(receipt) else refusals_needed(receipt, item.address)
        return self._pattern.add(item.id, kind) >= limit

    def _pull(self) -> Message | None:
        with self._lock:
            while not self.exhausted and self._may_go_on():
                slot = self._next
                self._next += 1
                item = self.window.items[slot]
                try:
                    content = self._renderer.render(item, self._list_names.get(item.subscriber_id or 0))
                except EmailError as error:
                    self.answers[slot] = RenderingFailed(error)
                    continue
                self._keep_pace()
                self._journal.handed(slot)
                if not self._in_time():
                    self._stopped = True
                    return None
                self._handed.add(slot)
                return Message(item.id, self._sender, item.address, content, no_leading_dots=True)
            return None

    def _keep_pace(self) -> None:
        """Wait until the pace allows the next email, counted from the previous one, however late that was."""
        if not self._pace:
            return
        if self.last_handed is not None and (wait := self.last_handed + self._pace - elapsed()) > 0:
            time.sleep(wait)
        self.last_handed = elapsed()

    def _may_go_on(self) -> bool:
        """Return whether to continue.

        Called often, so it queries the database only every ``LOOK_EVERY`` seconds.
        """
        if self._halted():
            self._stopped = True
            return False
        now = elapsed()
        if self._begun is None:
            self._begun = now
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            if now - self._begun >= LONGEST or not self._wanted():
                self._stopped = True
                return False
        return True
