"""How many new subscribers a plan still allows, counted exactly only near the limit."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from ...billing import subscriber_room
from ...models import Account
from ...settings import Settings
from .file_batches import AT_ONCE

# Counting a million subscribers takes a tenth of a second. This far from the limit, a few concurrent imports
# cannot reach it between two counts.
COUNT_EVERY: Final = 20  # batches
NARROW: Final = 4 * COUNT_EVERY * AT_ONCE


class PlanRoom:
    """The room of one account, remembered between the batches of an import."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings, self._now = settings, now
        self._known: float = 0  # not counted yet
        self._batches_since_counted = 0

    def left(self, session: Session, account_id: int) -> int | None:
        """Return how many new subscribers the plan allows; None when it sets no limit."""
        if self._known <= NARROW or self._batches_since_counted >= COUNT_EVERY:
            account = session.get_one(Account, account_id)
            remaining = subscriber_room(session, account, self._settings, self._now())
            self._known = math.inf if remaining is None else remaining
            self._batches_since_counted = 0
        self._batches_since_counted += 1
        return None if self._known == math.inf else int(self._known)

    def use(self, added: int) -> None:
        """Subtract subscribers that were added."""
        self._known -= added
