"""One window on its way out: emails are pulled from here, and answers come back here.

Connections pull, each in its own thread or the only one in ours. Before an email is given away the journal
knows of it, and only then the lease is looked at: whoever is stopped in between and comes back too late gives
nothing away.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock

from ...backends import Message, Outcome, Receipt, Scope
from ...errors import EmailError
from ...ledger import OpenWindow
from ..clock import elapsed
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

LOOK_EVERY = 0.25  # seconds; in a slow window, how often somebody's "pause" is looked for
LONGEST = 5.0  # seconds of a window, after which the rest of it is left for the next: other senders wait


@dataclass(frozen=True)
class RenderingFailed:
    """An email that could not be made for this recipient."""

    error: EmailError

    @property
    def about_address(self) -> bool:
        return self.error.field == "email"


Answer = Receipt | RenderingFailed
"""What became of one recipient of a window. None stands for: not touched."""


class WindowQueue:
    """The emails of one window. Safe for several threads."""

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
        self.error: Exception | None = None  # what kept a connection from being made, or ended one
        self._renderer, self._sender, self._journal = renderer, sender, journal
        self._list_names = list_names
        self._in_time, self._halted, self._wanted = in_time, halted, wanted
        self._pace = pace  # seconds between two emails
        self._slots = {item.id: slot for slot, item in enumerate(window.items)}
        self._handed: set[int] = set()  # given away and not answered yet
        self._next, self._stopped = 0, False
        self._lock = Lock()
        self._pattern = RefusalPattern()
        self.last_handed: float | None = None  # when, where a pace is to be kept
        self._begun: float | None = None  # when the first email was asked for
        self._looked = elapsed()

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left to pull."""
        return self._stopped or self._next >= len(self.window.items)

    def stop(self, error: Exception | None = None) -> None:
        """No more emails from this window; those on their way are still answered."""
        self._stopped = True
        self.error = self.error or error

    def messages(self) -> Iterator[Message]:
        """Emails, one by one, printed when they are asked for."""
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
        """No connection works on it any more: what nobody answered for may have gone out."""
        self.stop()
        for slot in sorted(self._handed):
            delivery = self.window.items[slot].id
            self.answer(Receipt(delivery, Outcome.in_doubt, scope=Scope.connection))

    def _is_enough(self, slot: int, receipt: Receipt) -> bool:
        """Whether so many in a row were refused in the same way that nobody else should be tried now."""
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
                    content = self._renderer.print(item, self._list_names.get(item.subscriber_id or 0))
                except EmailError as error:
                    self.answers[slot] = RenderingFailed(error)
                    continue
                self._keep_pace()
                self._journal.handed(slot)
                if not self._in_time():
                    self._stopped = True
                    return None
                self._handed.add(slot)
                return Message(item.id, self._sender, item.address, content)
            return None

    def _keep_pace(self) -> None:
        """Never sooner after the email before than the pace allows, however late that one was."""
        if not self._pace:
            return
        if self.last_handed is not None and (wait := self.last_handed + self._pace - elapsed()) > 0:
            time.sleep(wait)
        self.last_handed = elapsed()

    def _may_go_on(self) -> bool:
        """Asked often, answered from what is known; the database is asked only where time passes."""
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
